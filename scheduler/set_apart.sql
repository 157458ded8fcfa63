-- Set apart: the next schedule of a tick, whose place in the queue is held, gets a row of its own, so that the others go on.
with tick as materialized (
    select timetable_id, scheduled_for, through, newest, cursor, created_at
    from foxtrot.ticks
    where timetable_id = %(timetable_id)s and scheduled_for = %(scheduled_for)s and through = %(through)s
        and finished_at is null
    for update
), held as materialized (
    select s.id
    from tick t
    join foxtrot.schedules s on s.timetable_id = t.timetable_id
    where s.enabled and not s.dormant
        and s.effective_from < t.scheduled_for
        and s.id > t.cursor and s.id <= t.through
    order by s.id
    limit 1
), moved as (
    update foxtrot.ticks k
    set cursor = h.id
    from tick t, held h
    where k.timetable_id = t.timetable_id and k.scheduled_for = t.scheduled_for and k.through = t.through
        and h.id < t.through
)
insert into foxtrot.ticks (timetable_id, scheduled_for, through, newest, cursor, created_at, held)
select t.timetable_id, t.scheduled_for, h.id, t.newest, t.cursor, t.created_at, true
from tick t, held h
on conflict (timetable_id, scheduled_for, through) do update set held = true
returning timetable_id, scheduled_for, through, cursor, held, false as whole
