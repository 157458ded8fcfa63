-- Foxtrot's own tables, in a schema of their own so that they can share a database with an app.

create schema if not exists foxtrot;

-- Roles belong to the cluster, so another database may have made them already. The role that migrates owns everything.
do $$
declare
    name text;
begin
    foreach name in array array['foxtrot_service', 'foxtrot_api'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        -- Since Postgres 16 whoever makes a role may administer it, but has to be granted the right to act as it.
        if not pg_has_role(
            current_user, name, case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end
        ) then
            execute format('grant %I to current_user', name);
        end if;
    end loop;
end $$;

grant usage on schema foxtrot to foxtrot_service, foxtrot_api;

-- Functions ----------------------------------------------------------------------------------------------------------

-- 64 buckets, the last six bits of the user's id: what a distributed Postgres would shard by.
create function foxtrot.bucket_of(user_id uuid) returns smallint
language sql immutable strict parallel safe
return (get_byte(uuid_send(user_id), 15) & 63)::smallint;

-- The smallest UUID of a millisecond: where a week of runs begins. Taking the epoch from an interval is immutable, from
-- a timestamptz it is not; a body that is not as immutable as it claims would never be inlined.
create function foxtrot.uuid_floor(at timestamptz) returns uuid
language sql immutable strict parallel safe
return encode(
    substring(int8send(floor(extract(epoch from at - to_timestamp(0)) * 1000)::bigint) from 3)
    || '\x00000000000000000000'::bytea, 'hex'
)::uuid;

-- RFC 9562, version 7: 48 bits of Unix milliseconds, 12 bits of the fraction of that millisecond, then random bits.
-- The random part starts as version 4; setting bits 52 and 53 turns 0100 into 0111.
create function foxtrot.uuid7(at timestamptz) returns uuid
language sql volatile strict parallel safe
return encode(
    set_bit(set_bit(
        overlay(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(int8send(floor(extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6
            )
            placing substring(int4send(16384 + (extract(microseconds from at)::bigint % 1000 * 4096 / 1000)::int) from 3)
            from 7 for 2
        ), 52, 1), 53, 1), 'hex'
)::uuid;

-- RFC 9562, version 8: the slot's milliseconds, then a hash of (schedule, slot). Whoever expands the slot gets this id.
-- MD5 is hash enough here: nobody can choose a schedule's id.
create function foxtrot.cron_run_id(schedule_id uuid, slot timestamptz) returns uuid
language sql immutable strict parallel safe
return overlay(
    overlay(
        overlay(md5(schedule_id::text || foxtrot.uuid_floor(slot)::text) placing '8' from 17)
        placing '8' from 13
    )
    placing substring(replace(foxtrot.uuid_floor(slot)::text, '-', '') from 1 for 12) from 1
)::uuid;

-- A lease counts from the later of its renewal and the server's start, so an outage of Postgres ends nobody's lease.
create function foxtrot.alive(lease_expires_at timestamptz) returns boolean
language sql stable parallel safe
return greatest(lease_expires_at, pg_postmaster_start_time() + interval '15 seconds') > now();

-- Who the API acts for; null outside a request, and then row level security shows nothing.
create function foxtrot.current_user_id() returns uuid
language sql stable parallel safe
return nullif(current_setting('foxtrot.user_id', true), '')::uuid;

-- Users, timetables, schedules ---------------------------------------------------------------------------------------

create table foxtrot.users (
    id uuid not null,
    bucket smallint not null check (bucket between 0 and 63),
    org_id text,
    email text,
    zone text,
    role text not null default 'user' check (role in ('user', 'admin')),
    last_seen_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (id, bucket)
);

create table foxtrot.timetables (
    id uuid primary key default gen_random_uuid(),
    crons text[] not null check (cardinality(crons) between 1 and 10),
    zone text not null,
    next_slot timestamptz not null,
    tzdata text not null,
    unique (crons, zone)
);
create index timetables_due on foxtrot.timetables (next_slot);

create table foxtrot.schedules (
    id uuid not null default gen_random_uuid(),
    bucket smallint not null check (bucket between 0 and 63),
    user_id uuid not null,
    org_id text,
    key text not null check (length(key) between 1 and 100),
    kind text not null,
    subject text,
    parameters jsonb not null,
    fingerprint bytea not null check (length(fingerprint) = 16),
    timetable_id uuid not null references foxtrot.timetables (id),
    zone text not null,
    spread_seconds integer not null default 0 check (spread_seconds between 0 and 86400),
    catch_up text not null default 'latest' check (catch_up in ('latest', 'all', 'none')),
    enabled boolean not null default true,
    paused_at timestamptz,
    dormant boolean not null default false,
    effective_from timestamptz not null default now(),
    note text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (id, bucket),
    unique (user_id, key, bucket),
    foreign key (user_id, bucket) references foxtrot.users (id, bucket) on delete cascade,
    check (enabled = (paused_at is null))
);
create index schedules_expandable on foxtrot.schedules (timetable_id, id) where enabled and not dormant;

-- Each row has the schedules after `cursor` up to `through`; a tick that is split has several rows.
create table foxtrot.ticks (
    timetable_id uuid not null references foxtrot.timetables (id) on delete cascade,
    scheduled_for timestamptz not null,
    through uuid not null default 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    newest boolean not null,
    cursor uuid not null default '00000000-0000-0000-0000-000000000000',
    runs integer not null default 0,
    skips integer not null default 0,
    missed integer not null default 0,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (timetable_id, scheduled_for, through)
);
create index ticks_open on foxtrot.ticks (through desc, scheduled_for, timetable_id) where finished_at is null;

-- Runs and the queue -------------------------------------------------------------------------------------------------

-- A partition a week, made ahead by foxtrot.make_run_partition; no default partition (it would block making that week).
create table foxtrot.runs (
    id uuid not null,
    bucket smallint not null,
    user_id uuid not null,
    org_id text,
    kind text not null,
    subject text,
    source text not null check (source in ('manual', 'cron', 'backfill')),
    parameters jsonb not null,
    fingerprint bytea not null,
    client_context jsonb,
    schedule_id uuid,
    scheduled_for timestamptz,
    retry_of uuid,
    created_at timestamptz not null default now(),
    status text check (status in ('success', 'failed', 'cancelled')),
    attempt integer not null default 0,
    started_at timestamptz,
    finished_at timestamptz,
    headline text check (length(headline) <= 120),
    result jsonb,
    errors jsonb not null default '[]',
    expires_at timestamptz,
    primary key (id, bucket),
    check ((status is null) = (finished_at is null))
) partition by range (id);
create index runs_by_user on foxtrot.runs (user_id, id desc);

create table foxtrot.queue (
    run_id uuid not null,
    bucket smallint not null,
    user_id uuid not null,
    org_id text,
    subject text,
    kind text not null,
    fingerprint bytea not null,
    lane smallint not null check (lane between 0 and 2),
    available_at timestamptz not null,
    waiting text check (waiting in ('spread', 'retry', 'quota', 'snooze')),
    attempt integer not null default 0,
    max_attempts integer not null check (max_attempts > 0),
    rescues smallint not null default 0,
    worker_id uuid,
    started_at timestamptz,
    percent smallint check (percent between 0 and 100),
    step text,
    detail text,
    done integer,
    total integer,
    updated_at timestamptz not null default now(),
    primary key (run_id, bucket)
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
create unique index queue_live on foxtrot.queue (user_id, fingerprint, bucket);
create index queue_claim on foxtrot.queue (lane, kind, available_at, run_id) where worker_id is null;
create index queue_held on foxtrot.queue (worker_id) where worker_id is not null;

create table foxtrot.skips (
    schedule_id uuid not null,
    scheduled_for timestamptz not null,
    bucket smallint not null,
    user_id uuid not null,
    reason text not null check (reason in ('overlap', 'not_configured')),
    run_id uuid,
    created_at timestamptz not null default now(),
    primary key (schedule_id, scheduled_for, bucket)
);
create index skips_by_cover on foxtrot.skips (run_id) where run_id is not null;

create table foxtrot.run_steps (
    run_id uuid not null,
    name text not null check (length(name) between 1 and 100),
    bucket smallint not null,
    user_id uuid not null,
    attempt integer not null,
    value jsonb,
    created_at timestamptz not null default now(),
    primary key (run_id, name, bucket)
);

create table foxtrot.workers (
    id uuid primary key default gen_random_uuid(),
    host text not null,
    pid integer not null,
    version text not null,
    kinds text[] not null,
    slots integer not null check (slots > 0),
    started_at timestamptz not null default now(),
    lease_expires_at timestamptz not null,
    stopping boolean not null default false
);

create table foxtrot.audit_log (
    id uuid primary key default foxtrot.uuid7(now()),
    at timestamptz not null default now(),
    actor text not null,
    action text not null,
    user_id uuid,
    detail jsonb not null default '{}'
);

create function foxtrot.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'foxtrot.audit_log is append-only: % refused', lower(tg_op);
end $$;
create trigger append_only before update or delete on foxtrot.audit_log
    for each statement execute function foxtrot.refuse_change();

-- Partitions ---------------------------------------------------------------------------------------------------------

-- Make the partition of the week that holds `at` (Monday 00:00 UTC), unless it is there. Created first and attached
-- then, so that only the short attach waits for the table; the caller sets lock_timeout.
create function foxtrot.make_run_partition(at timestamptz) returns text
language plpgsql as $$
declare
    week timestamptz := date_trunc('week', at, 'UTC');
    name text := 'runs_' || to_char(week at time zone 'UTC', 'YYYYMMDD');
begin
    if to_regclass('foxtrot.' || name) is not null then
        return null;
    end if;
    execute format('create table foxtrot.%I (like foxtrot.runs including all)', name);
    execute format(
        'alter table foxtrot.runs attach partition foxtrot.%I for values from (%L) to (%L)',
        name, foxtrot.uuid_floor(week), foxtrot.uuid_floor(week + interval '7 days')
    );
    return name;
exception when duplicate_table or duplicate_object or unique_violation then
    return null;  -- another process made it in the same moment
end $$;

-- What every reader reads ---------------------------------------------------------------------------------------------

create view foxtrot.run_status with (security_invoker = true) as
select
    r.id, r.bucket, r.user_id, r.org_id, r.kind, r.subject, r.source, r.parameters, r.fingerprint, r.client_context,
    r.schedule_id, r.scheduled_for, r.retry_of, r.created_at,
    case
        when r.status is not null then r.status
        when q.worker_id is null then 'pending'
        else 'running'
    end as status,
    coalesce(q.attempt, r.attempt) as attempt,
    q.max_attempts,
    coalesce(r.started_at, q.started_at) as started_at,
    r.finished_at,
    q.lane, q.available_at, q.waiting, q.worker_id,
    case when r.status = 'success' then 100 else q.percent end as percent,
    q.step, q.detail, q.done, q.total,
    coalesce(r.finished_at, q.updated_at, r.created_at) as updated_at,
    r.headline, r.result, r.errors, r.errors -> -1 as error, r.expires_at
from foxtrot.runs r
left join foxtrot.queue q on q.run_id = r.id and q.bucket = r.bucket
where r.expires_at is null or r.expires_at > now();

-- Row level security: the API acts as foxtrot_api, which sees the rows of the request's user and nothing else. -----------

do $$
declare
    name text;
begin
    foreach name in array array['runs', 'queue', 'skips', 'schedules', 'run_steps', 'users'] loop
        execute format('alter table foxtrot.%I enable row level security', name);
        execute format('create policy service on foxtrot.%I to foxtrot_service using (true) with check (true)', name);
        execute format(
            'create policy own on foxtrot.%I to foxtrot_api using (%I = (select foxtrot.current_user_id()))'
            ' with check (%2$I = (select foxtrot.current_user_id()))',
            name, case name when 'users' then 'id' else 'user_id' end
        );
    end loop;
end $$;

grant select, insert, update, delete on all tables in schema foxtrot to foxtrot_service;
revoke update, delete on foxtrot.audit_log from foxtrot_service;

grant select, insert, update on foxtrot.runs, foxtrot.users to foxtrot_api;
grant select, insert, update, delete on foxtrot.queue, foxtrot.schedules, foxtrot.skips to foxtrot_api;
grant select on foxtrot.run_steps, foxtrot.run_status, foxtrot.workers, foxtrot.ticks to foxtrot_api;
grant select, insert on foxtrot.timetables to foxtrot_api;
grant insert on foxtrot.audit_log to foxtrot_api;
