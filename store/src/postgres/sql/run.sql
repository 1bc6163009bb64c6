SELECT r.run_id, r.tenant_id, r.projection, r.mode, r.state, r.node, n.node IS NOT NULL, r.until_seq, r.current_projection, r.cursor_seq,
       r.target_seq, r.events, r.cancel_requested, r.error_category, r.error_message, r.report,
       to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(r.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_run r
  LEFT JOIN dg_node n ON n.node = r.node AND n.incarnation = r.incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
 WHERE r.run_id = $1
