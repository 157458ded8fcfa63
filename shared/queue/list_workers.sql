-- List workers: each with how it is and how many runs it holds.
select
    w.id, w.host, w.pid, w.version, w.kinds, w.slots, w.started_at, w.lease_expires_at,
    case
        when not foxtrot.alive(w.lease_expires_at) then 'lost'
        when w.stopping then 'stopping'
        else 'working'
    end as state,
    (select count(*) from foxtrot.queue q where q.worker_id = w.id)::int as held
from foxtrot.workers w
order by w.started_at, w.id
