-- Left in tick: how many schedules it still has to settle, counted up to a number.
select count(*)::int as schedules
from (
    select
    from foxtrot.ticks k
    join foxtrot.schedules s on s.timetable_id = k.timetable_id
    where k.timetable_id = %(timetable_id)s and k.scheduled_for = %(scheduled_for)s and k.through = %(through)s
        and s.enabled and not s.dormant
        and s.effective_from < k.scheduled_for
        and s.id > k.cursor and s.id <= k.through
    limit %(at_most)s::int
) as held
