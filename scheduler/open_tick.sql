-- Open tick: the first that is not finished and that no other scheduler is at, those that are held last.
select k.timetable_id, k.scheduled_for, k.through
from foxtrot.ticks k
where k.finished_at is null
    and (k.timetable_id, k.scheduled_for, k.through) not in (
        select * from unnest(%(timetable_ids)s::uuid[], %(slots)s::timestamptz[], %(throughs)s::uuid[])
    )
order by k.held, k.scheduled_for, k.timetable_id, k.through
limit 1
for update of k skip locked
