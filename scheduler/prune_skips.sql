-- Prune skips: those whose slot is older than what is kept, and so can't come again.
delete from foxtrot.skips
where (schedule_id, scheduled_for, bucket) in (
    select schedule_id, scheduled_for, bucket
    from foxtrot.skips
    where scheduled_for < now() - %(keep)s::interval
    limit %(at_most)s
    for update skip locked
)
