-- Backfill: each of these slots of the user's schedule becomes a run with the slot's derived id, unless one is live that does the same.
with due as materialized (
    select
        s.*, d.slot, d.fingerprint as of_slot, foxtrot.cron_run_id(s.id, d.slot) as run_id
    from unnest(%(slots)s::timestamptz[], %(fingerprints)s::bytea[]) as d (slot, fingerprint)
    join foxtrot.schedules s
        on s.id = %(schedule_id)s and s.user_id = %(user_id)s and s.bucket = foxtrot.bucket_of(%(user_id)s)
), entered as (
    insert into foxtrot.queue (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, max_attempts, updated_at
    )
    select run_id, bucket, user_id, org_id, subject, kind, of_slot, 2, now(), %(max_attempts)s, now()
    from due
    order by of_slot
    on conflict do nothing
    returning run_id
)
insert into foxtrot.runs (
    id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, schedule_id, scheduled_for, created_at
)
select
    d.run_id, d.bucket, d.user_id, d.org_id, d.kind, d.subject, 'backfill', d.parameters, d.of_slot, d.id, d.slot, now()
from due d
join entered e using (run_id)
returning scheduled_for as slot
