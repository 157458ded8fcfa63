-- Left in ticks: how many schedules they still have to settle, counted up to a number.
select count(*)::int as schedules
from (
    select
    from unnest(%(timetable_ids)s::uuid[], %(slots)s::timestamptz[], %(throughs)s::uuid[])
        as n (timetable_id, slot, through)
    join foxtrot.ticks k on k.timetable_id = n.timetable_id and k.scheduled_for = n.slot and k.through = n.through
    join foxtrot.schedules s on s.timetable_id = k.timetable_id
    where k.finished_at is null
        and s.enabled and not s.dormant
        and s.effective_from < k.scheduled_for
        and s.id > k.cursor and s.id <= k.through
    limit %(at_most)s::int
) as held
