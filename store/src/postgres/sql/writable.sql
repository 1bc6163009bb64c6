-- What may stand in the way of writes, as far as the server says so. Sessions of other roles show no wait.
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('transaction_read_only') = 'on',
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
         WHERE a.wait_event = 'SyncRep' AND a.state_change < clock_timestamp() - interval '1 second'),
       pg_catalog.current_setting('synchronous_standby_names')
