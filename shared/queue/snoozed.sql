-- Snoozed: which of these runs wait already as they were asked to, as an earlier call left them.
select q.run_id, q.attempt
from unnest(%(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(untils)b::timestamptz[])
    as a (run_id, bucket, attempt, until)
join foxtrot.queue q on q.run_id = a.run_id and q.bucket = a.bucket
where q.worker_id is null and q.attempt = a.attempt and q.waiting = 'snooze' and q.available_at = a.until
