-- Ends the lease of a process that is gone. The row stays: of a node it says that it died.
UPDATE dg_node n SET expires_at = clock_timestamp() WHERE n.node = $1 AND n.incarnation = $2 AND n.process = $3
