-- Due timetables: those whose slot has come, held until they have moved on; one that a schedule is joining waits for the next pass.
select id, crons, zone, next_slot, now() as now
from foxtrot.timetables
where next_slot <= now() and tzdata <= %(tzdata)s
order by next_slot, id
limit %(at_most)s
for update skip locked
