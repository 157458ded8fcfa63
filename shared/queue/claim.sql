-- Claim: give a worker whose lease lives up to `free` due runs: manual first, cron within its floor and cap.
with me as materialized (
    select id
    from foxtrot.workers
    where id = %(worker_id)s and foxtrot.alive(lease_expires_at) and not stopping
    for share
), wanted as (
    select *
    from unnest(
        %(lanes)b::smallint[], %(lane_limits)b::int[], %(kinds)b::text[], %(kind_limits)b::int[],
        %(after_at)b::timestamptz[], %(after_ids)b::uuid[]
    ) as w (lane, lane_limit, kind, kind_limit, after_at, after_id)
), due as materialized (
    select d.*, w.kind_limit
    from me
    cross join wanted w
    cross join lateral (
        -- The inner limit is what the planner knows, the outer one what is read and locked.
        select *
        from (
            select q.run_id, q.lane, q.kind, q.available_at, q.rescues
            from foxtrot.queue q
            where q.worker_id is null
                and q.lane = w.lane
                and q.kind = w.kind
                and q.available_at <= now()
                and (q.available_at, q.run_id) > (w.after_at, w.after_id)
                and (q.rescues < 2 or %(suspects)s::int > 0)
            order by q.available_at, q.run_id
            limit %(free)s::int
            for update of q skip locked
        ) q
        limit w.lane_limit
    ) d
), turned as (
    -- Cron's floor goes before manual runs, what else of cron and backfill is due goes after them.
    select
        *,
        case
            when lane = 0 then 1
            when row_number() over (partition by lane = 0 order by lane, available_at, run_id) <= %(cron_floor)s::int then 0
            else 2
        end as turn
    from due
), ranked as (
    select
        *,
        row_number() over (partition by kind order by turn, lane, available_at, run_id) as nth_of_kind,
        row_number() over (partition by rescues >= 2 order by turn, lane, available_at, run_id) as nth_suspect
    from turned
), allowed as (
    select *, row_number() over (partition by lane = 0 order by turn, lane, available_at, run_id) as nth
    from ranked
    where nth_of_kind <= kind_limit and (rescues < 2 or nth_suspect <= %(suspects)s::int)
), picked as materialized (
    select run_id
    from allowed
    where lane = 0 or nth <= %(cron_cap)s::int
    order by turn, lane, available_at, run_id
    limit %(free)s::int
), claimed as (
    update foxtrot.queue q
    set worker_id = %(worker_id)s,
        attempt = q.attempt + 1,
        started_at = coalesce(q.started_at, now()),
        waiting = null,
        percent = null, step = null, detail = null, done = null, total = null,
        updated_at = now()
    from picked p
    -- A worker keeps the plan, perhaps one made on empty tables, where all plans cost the same. That this can't be a merge
    -- (`any`) and that only one index has the order asked for below leaves it nothing to choose.
    where q.run_id = any (array[p.run_id])
    returning q.run_id, q.bucket, q.lane, q.available_at, q.attempt, q.max_attempts, q.rescues, q.started_at
)
select
    c.run_id, c.bucket, c.lane, c.available_at, c.attempt, c.max_attempts, c.rescues, c.started_at,
    r.user_id, r.org_id, r.kind, r.subject, r.source, r.parameters, r.fingerprint, r.client_context,
    r.schedule_id, r.scheduled_for
from claimed c
cross join lateral (
    select *
    from foxtrot.runs
    where id = c.run_id
    order by bucket
    limit 1
) r
order by c.lane, c.available_at, c.run_id
