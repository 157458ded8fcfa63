-- Expire: end manual runs that no worker has begun within their kind's time; what a schedule asked for waits on.
with late as materialized (
    select q.run_id, q.bucket, k.retention, k.within
    from unnest(%(kinds)s::text[], %(withins)s::interval[], %(retentions)s::interval[]) as k (kind, within, retention)
    cross join lateral (
        select q.run_id, q.bucket
        from foxtrot.queue q
        join foxtrot.runs r on r.id = q.run_id and r.bucket = q.bucket and r.source = 'manual'
        where q.worker_id is null and q.lane = 0 and q.kind = k.kind and q.attempt = 0
            and q.available_at < now() - k.within
        order by q.available_at, q.run_id
        limit %(at_most)s::int
        for update of q skip locked
    ) q
), ended as (
    delete from foxtrot.queue q
    using late l
    where q.run_id = l.run_id and q.bucket = l.bucket
    returning q.run_id
)
update foxtrot.runs r
set status = 'failed',
    finished_at = now(),
    headline = 'No worker was free in time',
    errors = r.errors || jsonb_build_object(
        'class', 'NotStartedError',
        'message', format('No worker was free within %%s s.', extract(epoch from l.within)::int),
        'hint', 'Run it again, or start more workers.',
        'attempt', 0, 'at', now()
    ),
    expires_at = now() + l.retention
from late l
where r.id = l.run_id and r.bucket = l.bucket
returning r.id as run_id, r.kind
