-- Forgets a node whose lease is over, and what operators wanted of it. A node that lives, or lives again, is left alone.
WITH forgotten AS (
    DELETE FROM dg_node n
     WHERE n.node = $1 AND (n.expires_at <= clock_timestamp() OR n.not_before > clock_timestamp())
    RETURNING n.node
), let_go AS (
    DELETE FROM dg_cordon c USING forgotten f WHERE c.node = f.node
)
SELECT count(*) FROM forgotten
