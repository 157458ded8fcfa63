-- Read slots: what runs, skips and ticks say of each of these slots of the user's schedule.
with slot as materialized (
    select
        s.slot, foxtrot.bucket_of(%(user_id)s) as bucket,
        foxtrot.cron_run_id(%(schedule_id)s, s.slot) as run_id
    from unnest(%(slots)s::timestamptz[]) as s (slot)
)
select
    s.slot,
    case
        when r.id is null then null
        when r.status is not null then r.status
        when q.worker_id is null then 'pending'
        else 'running'
    end as status,
    coalesce(
        case when r.expires_at is null or r.expires_at > now() then r.id end,
        (select c.id from foxtrot.run_status c where c.id = k.run_id and c.bucket = s.bucket)
    ) as run_id,
    case when r.expires_at > now() then r.headline end as headline,
    k.reason,
    case when t.finished or t.rows = 0 and p.next_slot > s.slot then coalesce(t.finished_at, s.slot) end as settled_at
from slot s
join foxtrot.timetables p on p.id = %(timetable_id)s
left join foxtrot.runs r on r.id = s.run_id and r.bucket = s.bucket
left join foxtrot.queue q on q.run_id = s.run_id and q.bucket = s.bucket
left join foxtrot.skips k on k.schedule_id = %(schedule_id)s and k.scheduled_for = s.slot and k.bucket = s.bucket
cross join lateral (
    select count(*) as rows, bool_and(t.finished_at is not null) as finished, max(t.finished_at) as finished_at
    from foxtrot.ticks t
    where t.timetable_id = %(timetable_id)s and t.scheduled_for = s.slot
) t
order by s.slot
