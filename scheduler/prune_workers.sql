-- Prune workers: rows of processes that died more than a day ago.
delete from foxtrot.workers
where id in (
    select id
    from foxtrot.workers
    where lease_expires_at < now() - interval '1 day'
    limit %(at_most)s
    for update skip locked
)
