-- Join ticks: a slot that was taken up after this transaction began, and expanded past the schedule, gets a row for it.
with taken as materialized (
    select timetable_id, scheduled_for, through, newest, cursor, created_at, finished_at
    from foxtrot.ticks
    where timetable_id = %(timetable_id)s and scheduled_for > now()
    order by scheduled_for, through
    for update
)
insert into foxtrot.ticks (timetable_id, scheduled_for, through, newest, cursor, created_at)
select timetable_id, scheduled_for, %(schedule_id)s, bool_and(newest), %(before)s, min(created_at)
from taken
group by timetable_id, scheduled_for
having not bool_or(finished_at is null and cursor < %(schedule_id)s and through >= %(schedule_id)s)
on conflict do nothing
