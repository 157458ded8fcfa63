-- Uncover: the newest slot that a manual run covered, and that it can no longer serve, becomes a run that is due now.
with covered as (
    select
        s.*, k.scheduled_for, foxtrot.cron_run_id(s.id, k.scheduled_for) as run_id,
        row_number() over (partition by s.fingerprint order by k.scheduled_for desc, s.id) = 1 as chosen
    from foxtrot.skips k
    join foxtrot.runs r on r.id = k.run_id and r.bucket = k.bucket and r.source = 'manual'
    join foxtrot.schedules s on s.id = k.schedule_id and s.bucket = k.bucket
    where k.run_id = %(run_id)s and k.reason = 'overlap' and s.enabled and not s.dormant
), entered as (
    insert into foxtrot.queue (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, max_attempts, updated_at
    )
    select run_id, bucket, user_id, org_id, subject, kind, fingerprint, 1, now(), %(max_attempts)s::int, now()
    from covered
    where chosen
    on conflict do nothing
    returning run_id, fingerprint
), opened as (
    delete from foxtrot.skips k
    using covered c, entered e
    where k.schedule_id = c.id and k.scheduled_for = c.scheduled_for and k.bucket = c.bucket
        and e.run_id = c.run_id
), passed_on as (
    update foxtrot.skips k
    set run_id = e.run_id
    from covered c, entered e
    where k.schedule_id = c.id and k.scheduled_for = c.scheduled_for and k.bucket = c.bucket
        and e.fingerprint = c.fingerprint and e.run_id <> c.run_id
)
insert into foxtrot.runs (
    id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, schedule_id, scheduled_for, created_at
)
select
    c.run_id, c.bucket, c.user_id, c.org_id, c.kind, c.subject, 'cron', c.parameters, c.fingerprint, c.id,
    c.scheduled_for, now()
from covered c
join entered e using (run_id)
returning id as run_id
