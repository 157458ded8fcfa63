-- Wake schedules: the user's dormant schedules are dormant no more, and count from now.
with dormant as materialized (
    select id, bucket
    from foxtrot.schedules
    where user_id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s) and dormant
    order by id
    for update
), woken as (
    update foxtrot.schedules s
    set dormant = false, effective_from = now(), updated_at = now()
    from dormant d
    where s.id = d.id and s.bucket = d.bucket
    returning s.id, s.bucket, s.org_id, s.kind, s.subject, s.parameters, s.fingerprint, s.enabled
), noted as (
    -- One that somebody has paused meanwhile goes on being without runs, for that reason.
    update foxtrot.pauses p
    set until = case when w.enabled then greatest(now(), p.since) end,
        reason = case when w.enabled then p.reason else 'paused' end
    from woken w
    where p.schedule_id = w.id and p.bucket = w.bucket and p.until is null
)
select id, org_id, kind, subject, parameters, fingerprint, enabled
from woken
order by id
