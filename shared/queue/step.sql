-- Step: record a durable step's value under the fence; the first writer wins, and its value is returned.
with held as materialized (
    select run_id, bucket, user_id, attempt
    from foxtrot.queue
    where run_id = %(run_id)s and bucket = %(bucket)s and attempt = %(attempt)s
        and worker_id is not distinct from %(worker_id)s
    for update
)
insert into foxtrot.run_steps as s (run_id, name, bucket, user_id, attempt, value)
select run_id, %(name)s, bucket, user_id, attempt, %(value)s
from held
on conflict (run_id, name, bucket) do update set name = excluded.name
returning value
