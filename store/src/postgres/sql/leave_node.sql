DELETE FROM dg_node WHERE node = $1 AND incarnation = $2
