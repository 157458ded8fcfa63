-- Advance: timetables move to their next slots; the slots they pass become ticks, and what older ticks still hold is missed.
with slot as materialized (
    select *
    from unnest(%(tick_ids)s::uuid[], %(slots)s::timestamptz[], %(newest)s::bool[]) as s (timetable_id, scheduled_for, newest)
), moved as (
    update foxtrot.timetables t
    set next_slot = n.next_slot, tzdata = %(tzdata)s
    from unnest(%(timetable_ids)s::uuid[], %(next_slots)s::timestamptz[]) as n (id, next_slot)
    where t.id = n.id
), older as materialized (
    select k.timetable_id, k.scheduled_for, k.through
    from foxtrot.ticks k
    join slot s on s.timetable_id = k.timetable_id and s.newest
    where k.finished_at is null and k.newest and k.scheduled_for < s.scheduled_for
    for update of k skip locked
), overtaken as (
    update foxtrot.ticks k
    set newest = false
    from older o
    where k.timetable_id = o.timetable_id and k.scheduled_for = o.scheduled_for and k.through = o.through
)
insert into foxtrot.ticks (timetable_id, scheduled_for, newest)
select timetable_id, scheduled_for, newest
from slot
on conflict do nothing
