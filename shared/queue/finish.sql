-- Finish: record the outcomes of attempts that this worker still holds under a live lease, and end their queue rows.
with me as materialized (
    select id
    from foxtrot.workers
    where id = %(worker_id)s and foxtrot.alive(lease_expires_at)
    for share
), outcome as materialized (
    select *
    from unnest(
        %(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(statuses)b::text[], %(headlines)b::text[],
        %(results)b::jsonb[], %(errors)b::jsonb[], %(retentions)b::interval[]
    ) as o (run_id, bucket, attempt, status, headline, result, error, retention)
), held as materialized (
    -- One by one and in the order given, which is by run_id: a join would read the whole queue while it is small.
    select q.*
    from outcome o
    cross join lateral (
        select q.run_id, q.bucket, q.attempt, q.started_at, q.step, q.percent
        from foxtrot.queue q
        where q.run_id = o.run_id
            and q.bucket = o.bucket
            and q.attempt = o.attempt
            and q.worker_id is not distinct from %(worker_id)s
        for update
    ) q
    where exists (select from me)
), ended as (
    delete from foxtrot.queue q
    where q.run_id = any (array(select run_id from held)) and q.bucket = any (array(select bucket from held))
)
update foxtrot.runs r
set status = o.status,
    attempt = o.attempt,
    started_at = h.started_at,
    finished_at = now(),
    headline = o.headline,
    result = o.result,
    errors = case
        when o.error is null then r.errors
        else r.errors || (
            o.error || jsonb_build_object('attempt', o.attempt, 'at', now(), 'step', h.step, 'percent', h.percent)
        )
    end,
    expires_at = now() + o.retention
from held h
join outcome o on o.run_id = h.run_id and o.attempt = h.attempt
where r.id = h.run_id and r.bucket = h.bucket
returning r.id as run_id, r.attempt
