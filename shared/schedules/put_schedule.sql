-- Put schedule: add the user's schedule of this key or change what differs; other times, zone or enabled count from now.
with put as (
    insert into foxtrot.schedules as s (
        user_id, bucket, org_id, key, kind, subject, parameters, fingerprint, timetable_id, zone, spread_seconds,
        catch_up, enabled, paused_at, note, effective_from, timed_from, created_at, updated_at
    )
    values (
        %(user_id)s, foxtrot.bucket_of(%(user_id)s), %(org_id)s, %(key)s, %(kind)s, %(subject)s, %(parameters)s,
        %(fingerprint)s, %(timetable_id)s, %(zone)s, %(spread_seconds)s, %(catch_up)s,
        %(enabled)s, case when not %(enabled)s then now() end, %(note)s, %(since)s, %(since)s, now(), now()
    )
    on conflict (user_id, key, bucket) do update set
        org_id = excluded.org_id,
        kind = excluded.kind,
        subject = excluded.subject,
        parameters = excluded.parameters,
        fingerprint = excluded.fingerprint,
        timetable_id = excluded.timetable_id,
        zone = excluded.zone,
        spread_seconds = excluded.spread_seconds,
        catch_up = excluded.catch_up,
        enabled = excluded.enabled,
        paused_at = case when not excluded.enabled then coalesce(s.paused_at, now()) end,
        note = excluded.note,
        effective_from = case
            when (s.timetable_id, s.enabled) = (excluded.timetable_id, excluded.enabled) then s.effective_from
            -- A day that is left out after a move stays left out.
            when s.timetable_id = excluded.timetable_id then greatest(excluded.effective_from, s.timed_from)
            else excluded.effective_from
        end,
        timed_from = case when s.timetable_id = excluded.timetable_id then s.timed_from else excluded.timed_from end,
        updated_at = now()
    where (
        s.org_id, s.kind, s.subject, s.parameters, s.fingerprint, s.timetable_id, s.zone, s.spread_seconds, s.catch_up,
        s.enabled, s.note
    ) is distinct from (
        excluded.org_id, excluded.kind, excluded.subject, excluded.parameters, excluded.fingerprint,
        excluded.timetable_id, excluded.zone, excluded.spread_seconds, excluded.catch_up, excluded.enabled,
        excluded.note
    )
    returning s.id, s.bucket, s.user_id, s.enabled, s.xmax = 0 as created
), paused as (
    insert into foxtrot.pauses (schedule_id, since, bucket, user_id, reason)
    select id, now(), bucket, user_id, 'paused'
    from put
    where not enabled
    on conflict do nothing
), resumed as (
    update foxtrot.pauses p
    set until = greatest(now(), p.since)
    from put
    where p.schedule_id = put.id and p.bucket = put.bucket and p.until is null and p.reason = 'paused' and put.enabled
)
select id, created, true as changed
from put
