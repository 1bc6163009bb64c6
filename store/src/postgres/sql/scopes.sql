-- All scopes, those of a tenant, or one.
SELECT s.tenant_id, s.projection, s.owner_node, n.node IS NOT NULL, s.epoch, s.epoch_token, s.generation, s.cursor_seq, s.digest,
       s.version, to_char(s.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       greatest(extract(epoch FROM clock_timestamp() - s.updated_at), 0)::float8,
       to_char(s.paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), s.paused_reason, s.paused_by, s.deviating,
       CASE WHEN s.drift_generation = s.generation
            THEN to_char(s.drift_found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END, s.drift_run
  FROM dg_scope s
  LEFT JOIN dg_node n
         ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
 WHERE ($1::text IS NULL OR s.tenant_id = $1) AND ($2::text IS NULL OR s.projection = $2)
