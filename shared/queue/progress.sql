-- Progress: write the latest word of attempts that this worker still holds; a null keeps what was said before.
with said as materialized (
    select *
    from unnest(
        %(run_ids)s::uuid[], %(buckets)s::smallint[], %(attempts)s::int[], %(percents)s::smallint[], %(steps)s::text[],
        %(details)s::text[], %(dones)s::int[], %(totals)s::int[]
    ) as s (run_id, bucket, attempt, percent, step, detail, done, total)
), held as materialized (
    select q.run_id, q.bucket, q.attempt
    from said s
    join foxtrot.queue q on q.run_id = s.run_id and q.bucket = s.bucket
    where q.attempt = s.attempt and q.worker_id is not distinct from %(worker_id)s
    order by q.run_id
    for update of q
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
