-- List schedules: the user's schedules, or one of them, each with its next slot and the newest success of the same work.
select
    s.id, s.key, s.kind, s.subject, s.parameters, t.crons, s.zone, t.zone as timetable_zone, s.spread_seconds,
    s.catch_up, s.enabled, s.paused_at, p.note as pause_note, s.dormant, s.effective_from, s.note, s.created_at, s.updated_at,
    case when s.enabled and not s.dormant then t.next_slot end as next_slot,
    r.id as last_run_id, r.finished_at as last_success_at, r.headline, r.found, r.new
from foxtrot.schedules s
join foxtrot.timetables t on t.id = s.timetable_id
left join foxtrot.pauses p on p.schedule_id = s.id and p.bucket = s.bucket and p.until is null and p.reason = 'paused'
left join lateral (
    select
        r.id, r.finished_at, r.headline,
        case jsonb_typeof(r.result -> 'found') when 'number' then (r.result ->> 'found')::int end as found,
        case jsonb_typeof(r.result -> 'new') when 'number' then (r.result ->> 'new')::int end as new
    from foxtrot.run_status r
    where r.user_id = s.user_id and r.bucket = s.bucket and r.fingerprint = s.fingerprint and r.status = 'success'
    order by r.finished_at desc, r.id desc
    limit 1
) r on true
where s.user_id = %(user_id)s
    and s.bucket = foxtrot.bucket_of(%(user_id)s)
    and (%(everything)s or s.key = %(key)s::text or s.id = %(schedule_id)s::uuid)
order by s.key
