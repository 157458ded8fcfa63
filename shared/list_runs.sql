-- List runs: the user's runs with the newest id first, from before an id on, without the weight of their results.
select
    id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, client_context, schedule_id,
    scheduled_for, retry_of, created_at, status, attempt, max_attempts, started_at, finished_at, lane, available_at,
    waiting, worker_id, percent, step, detail, done, total, updated_at, headline, null as result, errors, error,
    expires_at, now() as read_at
from foxtrot.run_status
where user_id = %(user_id)s
    and bucket = foxtrot.bucket_of(%(user_id)s)
    and id < %(before)s
    and (%(statuses)s::text[] is null or status = any(%(statuses)s::text[]))
    and (%(kind)s::text is null or kind = %(kind)s)
order by id desc
limit %(limit)s
