-- Oldest first.
SELECT tenant_id, generation, projection, readers FROM dg_generation WHERE state = 'retired' ORDER BY retired_at, generation
