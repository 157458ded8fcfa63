-- Due timetables: those whose slot has come, held until they have moved on; one that a schedule is joining waits for the next pass.
with taken as materialized (
    select t.id, t.crons, t.zone, t.next_slot, t.tzdata, t.created_at
    from foxtrot.timetables t
    where t.next_slot <= now() and t.tzdata <= %(tzdata)s
    order by t.next_slot, t.id
    limit %(at_most)s
    for update of t skip locked
)
select
    t.*, now() as now,
    (select max(k.scheduled_for) from foxtrot.ticks k where k.timetable_id = t.id) as newest
from taken t
order by t.next_slot, t.id
