-- Who the members are, or what operators want of them, has changed.
NOTIFY dg_node
