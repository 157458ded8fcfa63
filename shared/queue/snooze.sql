-- Snooze: put runs that this worker still holds off until their time, without counting the attempt against them.
with me as materialized (
    select id
    from foxtrot.workers
    where id = %(worker_id)s and foxtrot.alive(lease_expires_at)
    for share
), asked as materialized (
    select *
    from unnest(
        %(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(untils)b::timestamptz[], %(whys)b::text[]
    ) as a (run_id, bucket, attempt, until, why)
), held as materialized (
    -- One by one and in the order given, which is by run_id: a join would read the whole queue while it is small.
    select q.*
    from asked a
    cross join lateral (
        select q.run_id, q.bucket, q.attempt
        from foxtrot.queue q
        where q.run_id = a.run_id
            and q.bucket = a.bucket
            and q.attempt = a.attempt
            and q.worker_id is not distinct from %(worker_id)s
        for update
    ) q
    where exists (select from me)
)
update foxtrot.queue q
set worker_id = null,
    available_at = a.until,
    waiting = 'snooze',
    max_attempts = q.max_attempts + 1,
    percent = null, step = null, detail = a.why, done = null, total = null,
    updated_at = now()
from held h
join asked a on a.run_id = h.run_id and a.attempt = h.attempt
where q.run_id = h.run_id and q.bucket = h.bucket
returning q.run_id, q.attempt
