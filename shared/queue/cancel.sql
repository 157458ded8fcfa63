-- Cancel: end the user's live run at once, pending or running; the worker that has it learns of it afterwards.
with ended as (
    delete from foxtrot.queue
    where run_id = %(run_id)s and user_id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s)
    returning run_id, bucket, attempt, started_at, worker_id
)
update foxtrot.runs r
set status = 'cancelled',
    attempt = e.attempt,
    started_at = e.started_at,
    finished_at = now(),
    expires_at = now() + %(retention)s::interval
from ended e
where r.id = e.run_id and r.bucket = e.bucket
returning r.id as run_id, e.worker_id
