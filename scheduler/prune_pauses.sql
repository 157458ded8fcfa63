-- Prune pauses: those that ended before the oldest slot that is kept, and so explain none.
delete from foxtrot.pauses
where (schedule_id, since, bucket) in (
    select schedule_id, since, bucket
    from foxtrot.pauses
    where until < now() - %(keep)s::interval
    limit %(at_most)s
    for update skip locked
)
