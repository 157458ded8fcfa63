-- Expand: settle one chunk of a tick, each schedule's slot once, by a run with the derived id or by a skip.
with tick as materialized (
    select timetable_id, cursor, newest, created_at - scheduled_for > %(missed_after)s::interval as late
    from foxtrot.ticks
    where timetable_id = %(timetable_id)s and scheduled_for = %(slot)s and through = %(through)s and finished_at is null
    for update
), chunk as materialized (
    select
        s.*,
        foxtrot.cron_run_id(s.id, %(slot)s) as run_id,
        (%(max_attempts)s::jsonb ->> s.kind)::int as max_attempts,
        case
            when t.newest and not t.late then true
            when s.catch_up = 'none' then false
            when s.catch_up = 'latest' then t.newest and %(slot)s > now() - interval '24 hours'
            else true
        end as wanted
    from tick t
    cross join lateral (  -- whose scan begins at the cursor
        select id, bucket, user_id, org_id, subject, kind, fingerprint, parameters, catch_up, spread_seconds
        from foxtrot.schedules
        where timetable_id = t.timetable_id
            and enabled and not dormant
            and effective_from < %(slot)s
            and id > t.cursor and id <= %(through)s
        order by id
        limit %(chunk)s::int
    ) s
), due as materialized (
    select c.*
    from chunk c
    where c.wanted
        and not exists (
            select from foxtrot.runs r
            where r.id = c.run_id and r.bucket = c.bucket
        )
        and not exists (
            select from foxtrot.skips k
            where k.schedule_id = c.id and k.scheduled_for = %(slot)s and k.bucket = c.bucket
        )
), entered as (
    insert into foxtrot.queue (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, waiting, max_attempts, updated_at
    )
    select
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, 1,
        case
            when spread_seconds = 0 then %(slot)s
            else %(slot)s + make_interval(secs => abs(hashtextextended(id::text, 0) %% spread_seconds))
        end,
        case when spread_seconds = 0 then null else 'spread' end,
        max_attempts,
        now()
    from due
    where max_attempts is not null
    order by user_id, fingerprint
    on conflict do nothing
    returning run_id
), settled as materialized (
    -- Not joined: on stale statistics that compares all with all, and a chunk takes minutes; `in` here is always hashed.
    select d.*, d.run_id in (select run_id from entered) as entered
    from due d
), inserted as (
    insert into foxtrot.runs (
        id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, schedule_id, scheduled_for, created_at
    )
    select run_id, bucket, user_id, org_id, kind, subject, 'cron', parameters, fingerprint, id, %(slot)s, now()
    from settled
    where entered
), skipped as (
    insert into foxtrot.skips (schedule_id, scheduled_for, bucket, user_id, reason)
    select id, %(slot)s, bucket, user_id, 'not_configured'
    from settled
    where max_attempts is null
), counts as (
    select
        (select count(*) from chunk)::int as seen,
        (select count(*) from settled where entered)::int as runs,
        (select count(*) from settled where not entered)::int as skips,
        (select count(*) from chunk where not wanted)::int as missed
), moved as (
    update foxtrot.ticks t
    set cursor = coalesce((select id from chunk order by id desc limit 1), t.cursor),
        runs = t.runs + c.runs,
        skips = t.skips + c.skips,
        missed = t.missed + c.missed,
        finished_at = case when c.seen < %(chunk)s::int then now() end
    from counts c
    where t.timetable_id = %(timetable_id)s and t.scheduled_for = %(slot)s and t.through = %(through)s
        and exists (select from tick)
    returning t.finished_at is not null as finished
)
select
    c.*,
    array(select id from settled where not entered and max_attempts is not null) as covered,
    coalesce((select finished from moved), true) as finished
from counts c
