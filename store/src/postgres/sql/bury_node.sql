-- Ends the lease of a process that is gone. The row stays: it says that the node died, and when.
UPDATE dg_node n SET expires_at = clock_timestamp()
 WHERE n.node = $1 AND n.incarnation = $2 AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
