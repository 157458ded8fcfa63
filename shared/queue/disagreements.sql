-- Disagreements: every row for which queue and runs do not tell the same story.
select r.id as run_id, 'lost' as fault, 'live in runs, but not in the queue' as what
from foxtrot.runs r
where r.status is null and not exists (select from foxtrot.queue q where q.run_id = r.id and q.bucket = r.bucket)
union all
select q.run_id, 'ghost', 'in the queue, but not in runs'
from foxtrot.queue q
where not exists (select from foxtrot.runs r where r.id = q.run_id and r.bucket = q.bucket)
union all
select q.run_id, 'undead', 'final in runs, but still in the queue'
from foxtrot.queue q
join foxtrot.runs r on r.id = q.run_id and r.bucket = q.bucket
where r.status is not null
union all
select q.run_id, 'orphan', 'held by a worker whose lease ended more than a minute ago: is anything rescuing?'
from foxtrot.queue q
where q.worker_id is not null
    and q.updated_at < now() - interval '1 minute'
    and not exists (
        select from foxtrot.workers w
        where w.id = q.worker_id and foxtrot.alive(w.lease_expires_at + interval '1 minute')
    )
union all
select r.id, 'double', 'a slot with both a run and a skip'
from foxtrot.skips k
join foxtrot.runs r on r.id = foxtrot.cron_run_id(k.schedule_id, k.scheduled_for) and r.bucket = k.bucket
order by 2, 1
limit %(at_most)s::int
