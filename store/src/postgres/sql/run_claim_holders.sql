-- Other jobs that hold one of these scopes, and whether their node lives. The job's row is locked first and alone, as by whoever ends
-- it: claims are deleted under that lock, so the two cannot wait for each other.
SELECT c.run_id, n.node IS NOT NULL AND r.state IN ('queued', 'running'), c.projection, r.node
  FROM dg_run_claim c
  JOIN dg_run r ON r.run_id = c.run_id
  LEFT JOIN dg_node n ON n.node = r.node AND n.incarnation = r.incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
 WHERE c.tenant_id = $1 AND c.projection = ANY ($2::text[]) AND c.run_id <> $3
 ORDER BY c.projection
   FOR UPDATE OF r
