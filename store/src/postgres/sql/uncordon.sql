DELETE FROM dg_cordon WHERE node = $1
