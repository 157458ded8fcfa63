-- Repair: mend what disagrees between queue and runs, and write each mend to the audit log.
with lost as (
    -- What a worker may still hold of it is unknown, so its attempts start far above any that was ever made.
    insert into foxtrot.queue (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, attempt, max_attempts
    )
    select
        r.id, r.bucket, r.user_id, r.org_id, r.subject, r.kind, r.fingerprint,
        case r.source when 'manual' then 0 when 'cron' then 1 else 2 end, now(), 1000, 1003
    from foxtrot.runs r
    where r.status is null and not exists (select from foxtrot.queue q where q.run_id = r.id and q.bucket = r.bucket)
    order by r.user_id, r.fingerprint
    on conflict do nothing
    returning run_id, user_id
), ended as (
    delete from foxtrot.queue q
    where not exists (
        select from foxtrot.runs r where r.id = q.run_id and r.bucket = q.bucket and r.status is null
    )
    returning run_id, user_id
), doubles as (
    delete from foxtrot.skips k
    using foxtrot.runs r
    where r.id = foxtrot.cron_run_id(k.schedule_id, k.scheduled_for) and r.bucket = k.bucket
    returning r.id as run_id, k.user_id
), mended as (
    select 'put back into the queue' as action, run_id, user_id from lost
    union all
    select 'deleted from the queue', run_id, user_id from ended
    union all
    select 'deleted the skip beside the run', run_id, user_id from doubles
), logged as (
    insert into foxtrot.audit_log (actor, action, user_id, detail)
    select 'foxtrot doctor', action, user_id, jsonb_build_object('run_id', run_id)
    from mended
)
select run_id, action
from mended
order by action, run_id
