-- Advance: timetables move to their next slots; the slots they pass become ticks.
with slot as materialized (
    select *
    from unnest(%(tick_ids)s::uuid[], %(slots)s::timestamptz[], %(newest)s::bool[]) as s (timetable_id, scheduled_for, newest)
), moved as (
    update foxtrot.timetables t
    set next_slot = n.next_slot, tzdata = %(tzdata)s
    from unnest(%(timetable_ids)s::uuid[], %(next_slots)s::timestamptz[]) as n (id, next_slot)
    where t.id = n.id
)
insert into foxtrot.ticks (timetable_id, scheduled_for, newest)
select timetable_id, scheduled_for, newest
from slot
on conflict do nothing
