-- Settled slots: those of the last two days that became a run of the user's schedule, or were covered by another.
select r.scheduled_for as slot
from foxtrot.runs r
where r.user_id = %(user_id)s
    and r.bucket = foxtrot.bucket_of(%(user_id)s)
    and r.id >= foxtrot.uuid_floor(now() - interval '2 days')
    and r.schedule_id = %(schedule_id)s
    and r.scheduled_for is not null
union all
select k.scheduled_for
from foxtrot.skips k
where k.schedule_id = %(schedule_id)s
    and k.scheduled_for > now() - interval '2 days'
    and k.bucket = foxtrot.bucket_of(%(user_id)s)
    and k.reason = 'overlap'
