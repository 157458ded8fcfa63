-- Prune steps: durable steps of runs that ended more than a day ago, or that are gone.
delete from foxtrot.run_steps
where (run_id, name, bucket) in (
    select s.run_id, s.name, s.bucket
    from foxtrot.run_steps s
    left join foxtrot.runs r on r.id = s.run_id and r.bucket = s.bucket
    where s.created_at < now() - interval '1 day'
        and (r.id is null or r.finished_at < now() - interval '1 day')
    limit %(at_most)s
    for update of s skip locked
)
