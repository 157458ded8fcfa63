-- Release: give back runs that this worker holds, in their old place, with one more attempt allowed.
with held as materialized (
    select q.run_id, q.bucket
    from unnest(%(run_ids)b::uuid[], %(attempts)b::int[]) as f (run_id, attempt)
    join foxtrot.queue q on q.run_id = f.run_id and q.attempt = f.attempt
    where q.worker_id is not distinct from %(worker_id)s
    order by q.run_id
    for update of q
)
update foxtrot.queue q
set worker_id = null,
    max_attempts = q.max_attempts + 1,
    percent = null, step = null, detail = null, done = null, total = null,
    updated_at = now()
from held h
where q.run_id = h.run_id and q.bucket = h.bucket
returning q.run_id, q.attempt
