-- Unused timetables: those older than a day that no schedule has and no open tick is of, held so that none can join.
select t.id
from foxtrot.timetables t
where t.created_at < now() - interval '1 day'
    and not exists (select from foxtrot.schedules s where s.timetable_id = t.id)
    and not exists (select from foxtrot.ticks k where k.timetable_id = t.id and k.finished_at is null)
order by t.id
limit %(at_most)s
for update of t skip locked
