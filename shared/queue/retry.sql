-- Retry: give failed attempts that this worker still holds another try after their delay, and keep what went wrong.
with me as materialized (
    select id
    from foxtrot.workers
    where id = %(worker_id)s and foxtrot.alive(lease_expires_at)
    for share
), failed as materialized (
    select *
    from unnest(
        %(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[],
        %(delays)b::interval[], %(waitings)b::text[], %(errors)b::jsonb[]
    ) as f (run_id, bucket, attempt, delay, waiting, error)
), held as materialized (
    -- One by one and in the order given, which is by run_id: a join would read the whole queue while it is small.
    select q.*
    from failed f
    cross join lateral (
        select q.run_id, q.bucket, q.attempt, q.step, q.percent
        from foxtrot.queue q
        where q.run_id = f.run_id
            and q.bucket = f.bucket
            and q.attempt = f.attempt
            and q.attempt < q.max_attempts
            and q.worker_id is not distinct from %(worker_id)s
        for update
    ) q
    where exists (select from me)
), given_back as (
    update foxtrot.queue q
    set worker_id = null,
        available_at = now() + f.delay,
        waiting = f.waiting,
        percent = null, step = null, detail = null, done = null, total = null,
        updated_at = now()
    from held h
    join failed f on f.run_id = h.run_id and f.attempt = h.attempt
    where q.run_id = h.run_id and q.bucket = h.bucket
)
update foxtrot.runs r
set errors = r.errors || (
    f.error || jsonb_build_object('attempt', f.attempt, 'at', now(), 'step', h.step, 'percent', h.percent)
)
from held h
join failed f on f.run_id = h.run_id and f.attempt = h.attempt
where r.id = h.run_id and r.bucket = h.bucket
returning r.id as run_id, f.attempt
