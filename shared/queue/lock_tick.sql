-- Lock tick: nobody else settles this row's schedules until the transaction ends.
select
from foxtrot.ticks
where timetable_id = %s and scheduled_for = %s and through = %s
for update
