-- Pause failing: schedules of these failed runs are paused, with a note, when their last cron runs have all failed.
with suspect as materialized (
    select s.id, s.bucket, s.timetable_id, s.effective_from, s.fingerprint, r.errors -> -1 ->> 'message' as message
    from foxtrot.runs r
    join foxtrot.schedules s on s.id = r.schedule_id and s.bucket = r.bucket
    where r.id = any(%(run_ids)s) and r.source = 'cron' and r.status = 'failed' and s.enabled
), failing as materialized (
    select s.id, s.bucket, s.effective_from, max(s.message) as message
    from suspect s
    cross join lateral (
        select r.status
        from (
            select distinct k.scheduled_for
            from foxtrot.ticks k
            where k.timetable_id = s.timetable_id and k.scheduled_for > s.effective_from
            order by k.scheduled_for desc
            limit 3 * %(failures)s
        ) k
        join foxtrot.runs r on r.id = foxtrot.cron_run_id(s.id, k.scheduled_for) and r.bucket = s.bucket
        where r.source = 'cron' and r.status in ('success', 'failed') and r.fingerprint = s.fingerprint
        order by k.scheduled_for desc
        limit %(failures)s
    ) last
    group by s.id, s.bucket, s.effective_from
    having count(*) >= %(failures)s and bool_and(last.status = 'failed')
), locked as materialized (
    select s.id, s.bucket, f.message
    from failing f
    join foxtrot.schedules s on s.id = f.id and s.bucket = f.bucket
    where s.enabled and s.effective_from = f.effective_from  -- else it was resumed meanwhile
    order by s.id
    for update of s
), paused as (
    update foxtrot.schedules s
    set enabled = false,
        paused_at = now(),
        effective_from = now(),
        updated_at = now()
    from locked l
    where s.id = l.id and s.bucket = l.bucket
    returning s.id, s.bucket, s.user_id, l.message
)
insert into foxtrot.pauses (schedule_id, since, bucket, user_id, reason, note)
select
    id, now(), bucket, user_id, 'paused',
    left(format('Paused by itself: its last %%s runs failed, the last one with: %%s', %(failures)s::int, message), 500)
from paused
on conflict do nothing
returning schedule_id as id, user_id, note
