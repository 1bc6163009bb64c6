-- Whether a generation's own table is attached, and whether it has its primary key.
SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = $1::text::regclass),
       EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p')
