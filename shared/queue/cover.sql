-- Cover: the slots of these schedules become skips that name the live run which covers each, and keeps it live until commit.
with cover as materialized (
    select s.id, s.bucket, s.user_id, q.run_id
    from unnest(%(schedule_ids)s::uuid[]) as c (id)
    join foxtrot.schedules s on s.id = c.id
    join foxtrot.queue q on q.user_id = s.user_id and q.fingerprint = s.fingerprint and q.bucket = s.bucket
    order by q.run_id
    for key share of q
)
insert into foxtrot.skips (schedule_id, scheduled_for, bucket, user_id, reason, run_id)
select id, %(slot)s, bucket, user_id, 'overlap', run_id
from cover
