-- Cover: these slots become skips that name the live run which covers each, never the slot's own, and keep it live until commit.
with cover as materialized (
    select s.id, s.bucket, s.user_id, c.slot, q.run_id
    from unnest(%(schedule_ids)s::uuid[], %(slots)s::timestamptz[]) as c (id, slot)
    join foxtrot.schedules s on s.id = c.id
    join foxtrot.queue q on q.user_id = s.user_id and q.fingerprint = s.fingerprint and q.bucket = s.bucket
    where q.run_id <> foxtrot.cron_run_id(c.id, c.slot)
    order by q.run_id
    for key share of q
)
insert into foxtrot.skips (schedule_id, scheduled_for, bucket, user_id, reason, run_id)
select id, slot, bucket, user_id, 'overlap', run_id
from cover
