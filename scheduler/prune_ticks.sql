-- Prune ticks: finished ones whose slot is older than what is kept, and so can't come again.
delete from foxtrot.ticks
where (timetable_id, scheduled_for, through) in (
    select timetable_id, scheduled_for, through
    from foxtrot.ticks
    where finished_at is not null and scheduled_for < now() - %(keep)s::interval
    limit %(at_most)s
    for update skip locked
)
