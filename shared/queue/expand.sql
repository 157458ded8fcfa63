-- Expand: settle the next chunk of some locked ticks, each schedule's slot once, by a run with the derived id or by a skip.
with tick as materialized (
    select
        n.place, k.timetable_id, k.scheduled_for as slot, k.through, k.cursor,
        k.created_at - k.scheduled_for > %(missed_after)s::interval as late,
        k.newest and not exists (
            select from foxtrot.ticks later
            where later.timetable_id = k.timetable_id and later.scheduled_for > k.scheduled_for
        ) as newest
    from unnest(%(timetable_ids)s::uuid[], %(slots)s::timestamptz[], %(throughs)s::uuid[])
        with ordinality as n (timetable_id, slot, through, place)
    join foxtrot.ticks k on k.timetable_id = n.timetable_id and k.scheduled_for = n.slot and k.through = n.through
    where k.finished_at is null
), chunk as materialized (
    select
        t.place, t.slot, s.*,
        case t.slot  -- most ticks have this one, and what an id takes from a constant is computed once
            when %(slot)s then foxtrot.cron_run_id(s.id, %(slot)s)
            else foxtrot.cron_run_id(s.id, t.slot)
        end as run_id,
        (%(max_attempts)s::jsonb ->> s.kind)::int as max_attempts,
        case
            when t.newest and not t.late then true
            when s.catch_up = 'none' then false
            when s.catch_up = 'latest' then t.newest and t.slot > now() - interval '24 hours'
            else true
        end as wanted
    from tick t
    cross join lateral (  -- whose scan begins at the cursor
        select id, bucket, user_id, org_id, subject, kind, fingerprint, parameters, catch_up, spread_seconds
        from foxtrot.schedules
        where timetable_id = t.timetable_id
            and enabled and not dormant
            and effective_from < t.slot
            and id > t.cursor and id <= t.through
        order by id
        limit %(chunk)s::int
    ) s
    order by t.place, s.id
    limit %(chunk)s::int
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
            where k.schedule_id = c.id and k.scheduled_for = c.slot and k.bucket = c.bucket
        )
), entered as (
    insert into foxtrot.queue (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, waiting, max_attempts, updated_at
    )
    select
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, 1,
        case
            when spread_seconds = 0 then slot
            else slot + make_interval(secs => abs(hashtextextended(id::text, 0) %% spread_seconds))
        end,
        case when spread_seconds = 0 then null else 'spread' end,
        max_attempts,
        now()
    from due
    where max_attempts is not null
    order by user_id, fingerprint, slot
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
    select run_id, bucket, user_id, org_id, kind, subject, 'cron', parameters, fingerprint, id, slot, now()
    from settled
    where entered
), skipped as (
    insert into foxtrot.skips (schedule_id, scheduled_for, bucket, user_id, reason)
    select id, slot, bucket, user_id, 'not_configured'
    from settled
    where max_attempts is null
), counts as materialized (
    select place, sum(runs) as runs, sum(skips) as skips, sum(missed) as missed
    from (
        select place, entered::int as runs, (not entered)::int as skips, 0 as missed
        from settled
        union all
        select place, 0, 0, 1
        from chunk
        where not wanted
    ) as either
    group by place
), reached as materialized (
    select place, id
    from chunk
    order by place desc, id desc
    limit 1
), moved as (
    update foxtrot.ticks k
    set newest = t.newest,
        cursor = coalesce(r.id, k.cursor),
        runs = k.runs + coalesce(c.runs, 0),
        skips = k.skips + coalesce(c.skips, 0),
        missed = k.missed + coalesce(c.missed, 0),
        finished_at = case
            when (select count(*) from chunk) < %(chunk)s::int or t.place < (select place from reached) then now()
        end
    from tick t
    left join counts c using (place)
    left join reached r using (place)
    where k.timetable_id = t.timetable_id and k.scheduled_for = t.slot and k.through = t.through
    returning k.finished_at
)
select
    (select count(*) from chunk)::int as seen,
    coalesce(sum(runs), 0)::int as runs,
    coalesce(sum(skips), 0)::int as skips,
    coalesce(sum(missed), 0)::int as missed,
    array(select id from settled where not entered and max_attempts is not null order by place, id) as covered,
    array(select slot from settled where not entered and max_attempts is not null order by place, id) as covered_slots,
    (select id from reached) as last,
    (select count(*) from moved where finished_at is null)::int as left
from counts
