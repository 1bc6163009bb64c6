-- A job as people see it (?1 is now), with whether its process still lives; the condition is added behind.
SELECT run.run_id, run.tenant_id, run.projection, run.mode, run.state, run.node,
       coalesce(node.expires_at_ms > ?1 AND node.not_before_ms <= ?1, 0),
       run.until_log_seq, run.current, run.cursor, run.target, run.events, run.cancel_requested,
       run.error_category, run.error_message, run.report,
       strftime('%Y-%m-%dT%H:%M:%fZ', run.created_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', run.finished_at_ms / 1000.0, 'unixepoch')
FROM dg_run AS run
LEFT JOIN dg_node AS node ON node.node = run.node AND node.incarnation = run.incarnation
