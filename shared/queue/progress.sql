-- Progress: write the latest word of attempts that this worker still holds; a null keeps what was said before.
with said as materialized (
    select *
    from unnest(
        %(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(percents)b::smallint[], %(steps)b::text[],
        %(details)b::text[], %(dones)b::int[], %(totals)b::int[]
    ) as s (run_id, bucket, attempt, percent, step, detail, done, total)
), held as materialized (
    -- One by one and in the order given, which is by run_id: a join would read the whole queue while it is small.
    select q.*
    from said s
    cross join lateral (
        select q.run_id, q.bucket, q.attempt
        from foxtrot.queue q
        where q.run_id = s.run_id
            and q.bucket = s.bucket
            and q.attempt = s.attempt
            and q.worker_id is not distinct from %(worker_id)s
        for update
    ) q
)
update foxtrot.queue q
set percent = coalesce(s.percent, q.percent),
    step = coalesce(s.step, q.step),
    detail = coalesce(s.detail, q.detail),
    done = coalesce(s.done, q.done),
    total = coalesce(s.total, q.total),
    updated_at = now()
from held h
join said s on s.run_id = h.run_id and s.attempt = h.attempt
where q.run_id = h.run_id and q.bucket = h.bucket
returning q.run_id, q.attempt
