-- Locks the job, not its node's row: a renewal must not wait.
SELECT r.tenant_id, r.projections, r.state, r.node, r.incarnation, n.node IS NOT NULL
  FROM dg_run r
  LEFT JOIN dg_node n ON n.node = r.node AND n.incarnation = r.incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
 WHERE r.run_id = $1
   FOR UPDATE OF r
