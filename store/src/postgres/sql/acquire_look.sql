-- Who holds the scope: the name and the rest of its lease, both only if it is somebody else whose lease still runs. Then the epoch to
-- take it from, the former writer's backend if it is still there (a pid alone may have been given to somebody else), and another node
-- whose lease ended without a hand-over (that deletes its row).
SELECT n.node, extract(epoch FROM n.expires_at - clock_timestamp())::float8,
       s.epoch, s.epoch_token, a.pid, s.writer_started::text,
       (SELECT d.node FROM dg_node d
         WHERE d.node = s.owner_node AND d.incarnation = s.owner_incarnation AND d.node <> $3
           AND (d.expires_at <= clock_timestamp() OR d.not_before > clock_timestamp()))
  FROM dg_scope s
  LEFT JOIN dg_node n
         ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
        AND NOT (n.node = $3 AND n.incarnation = $4)
  LEFT JOIN pg_stat_activity a ON a.pid = s.writer_pid AND a.backend_start = s.writer_started
 WHERE s.tenant_id = $1 AND s.projection = $2
