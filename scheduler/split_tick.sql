-- Split tick: what is left of it is cut into rows of their own, which schedulers share; its own row keeps the last part.
with tick as materialized (
    select timetable_id, scheduled_for, through, newest, cursor, created_at
    from foxtrot.ticks
    where timetable_id = %(timetable_id)s and scheduled_for = %(scheduled_for)s and through = %(through)s
        and finished_at is null
    for update
), part as materialized (
    select p.through, lag(p.through, 1, t.cursor) over (order by p.through) as cursor
    from tick t
    cross join unnest(%(cuts)s::uuid[]) as p (through)
), moved as (
    update foxtrot.ticks k
    set cursor = p.through
    from tick t, (select through from part order by through desc limit 1) p
    where k.timetable_id = t.timetable_id and k.scheduled_for = t.scheduled_for and k.through = t.through
)
insert into foxtrot.ticks (timetable_id, scheduled_for, through, newest, cursor, created_at)
select t.timetable_id, t.scheduled_for, p.through, t.newest, p.cursor, t.created_at
from tick t, part p
