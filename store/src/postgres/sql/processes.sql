-- Processes whose leases run, and that say exactly which ones they are.
SELECT n.node, n.incarnation, n.process
  FROM dg_node n
 WHERE n.process IS NOT NULL AND n.expires_at > clock_timestamp()
