-- Newest first. A job for all projections matches each one.
SELECT r.run_id, r.tenant_id, r.projection, r.mode, r.state, r.node, n.node IS NOT NULL, r.until_seq, r.current_projection, r.cursor_seq,
       r.target_seq, r.events, r.cancel_requested, r.error_category, r.error_message, r.report,
       to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(r.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_run r
  LEFT JOIN dg_node n ON n.node = r.node AND n.incarnation = r.incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
 WHERE ($1::text IS NULL OR r.tenant_id = $1) AND ($2::text IS NULL OR $2 = ANY (r.projections))
   AND (NOT $3 OR r.state IN ('queued', 'running'))
   AND ($5::uuid IS NULL OR (r.created_at, r.run_id) < (SELECT b.created_at, b.run_id FROM dg_run b WHERE b.run_id = $5))
 ORDER BY r.created_at DESC, r.run_id DESC
 LIMIT $4
