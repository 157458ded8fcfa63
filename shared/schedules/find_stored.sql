-- Find stored: the user's schedule of this key or id, with its timetable's rule, locked until the transaction ends.
select
    s.id, s.org_id, s.key, s.kind, s.subject, s.parameters, s.fingerprint, s.timetable_id, t.crons, s.zone,
    t.zone as timetable_zone, s.spread_seconds, s.catch_up, s.enabled, s.note
from foxtrot.schedules s
join foxtrot.timetables t on t.id = s.timetable_id
where s.user_id = %(user_id)s
    and s.bucket = foxtrot.bucket_of(%(user_id)s)
    and (s.key = %(key)s::text or s.id = %(schedule_id)s::uuid)
for update of s
