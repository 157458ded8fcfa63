-- Outdated timetables: those whose slot was computed with older tzdata, held until it is computed again, whether it has come or not.
with taken as materialized (
    select t.id, t.crons, t.zone, t.next_slot, t.tzdata, t.created_at
    from foxtrot.timetables t
    where t.tzdata < %(tzdata)s
    order by t.next_slot, t.id
    limit %(at_most)s
    for update of t skip locked
)
select
    t.*, now() as now,
    (select max(k.scheduled_for) from foxtrot.ticks k where k.timetable_id = t.id) as newest
from taken t
order by t.next_slot, t.id
