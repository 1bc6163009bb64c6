-- The next events of a tenant, as a projection reads them. Keyset paging on the primary key; compared as pairs, because with plain
-- equality a planner that has seen the log empty may go by the index on log_seq alone, and read everybody's events. The running sum
-- bounds the bytes of a page on the server, over all texts that are read: a client that just stopped reading would still be sent the
-- rest. (octet_length does not unpack a text.) An event larger than $6 is not sent: the page ends before it, see event_size.sql.
-- The comments in it give way to the columns of metadata.rs, if a projection reads them.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash /* metadata */
  FROM (SELECT p.*, sum(p.size) OVER (ORDER BY p.tenant_id, p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT tenant_id, log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash /* metadata */,
                       octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
                       + octet_length(occurred_at) + octet_length(actor_type) + octet_length(actor_id) + octet_length(payload_hash) /* metadata bytes */ AS size
                  FROM dg_event_log
                 WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
                 ORDER BY tenant_id, log_seq
                 LIMIT $4) AS p) AS q
 WHERE (before = 0 OR before + size <= $5::bigint) AND size <= $6
 ORDER BY tenant_id, log_seq
