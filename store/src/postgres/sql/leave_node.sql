-- Without its row a node's lease is over: each of its scopes may be taken, at once and whatever their number.
DELETE FROM dg_node WHERE node = $1 AND incarnation = $2
