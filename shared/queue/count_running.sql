-- Count running: how many runs of each of these kinds workers hold.
select k.kind, count(q.run_id)::int as running
from unnest(%(kinds)s::text[]) as k (kind)
left join foxtrot.queue q on q.kind = k.kind and q.worker_id is not null
group by k.kind
