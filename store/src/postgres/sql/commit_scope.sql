-- The fence of a live batch. A function, because it must raise: the server then aborts the transaction, whatever the client does.
SELECT dg_commit_scope($1, $2, $3, $4, $5, $6, $7, $8, $9)
