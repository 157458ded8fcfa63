-- Find timed: the user's schedule of this key or id, with the timetable that it has and since when.
select s.id, s.timetable_id, t.crons, t.zone, s.timed_from, now() as now
from foxtrot.schedules s
join foxtrot.timetables t on t.id = s.timetable_id
where s.user_id = %(user_id)s
    and s.bucket = foxtrot.bucket_of(%(user_id)s)
    and (s.key = %(key)s::text or s.id = %(schedule_id)s::uuid)
