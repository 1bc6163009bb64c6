SELECT generation, cursor_seq, digest, version FROM dg_scope WHERE tenant_id = $1 AND projection = $2 FOR UPDATE
