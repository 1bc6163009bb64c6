-- Every node that has said who it is and has not left, dead ones too, and what operators want of it.
SELECT n.node, n.incarnation, n.address, n.program, n.protocol,
       CASE WHEN n.not_before <= clock_timestamp() THEN extract(epoch FROM n.expires_at - clock_timestamp()) ELSE 0 END::float8,
       to_char(n.joined_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       c.draining, c.reason, c.cordoned_by, to_char(c.cordoned_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_node n
  LEFT JOIN dg_cordon c ON c.node = n.node
 WHERE n.protocol IS NOT NULL
