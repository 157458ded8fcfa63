-- Schedules as their users' own: why slots became no run, ticks that schedulers share, and what the API needs to write.

-- When the schedule got the timetable that it has; older slots were another timetable's.
alter table foxtrot.schedules add column timed_from timestamptz not null default now();
update foxtrot.schedules set timed_from = created_at;

-- A stretch of time in which a schedule made no runs: its slots have this reason instead of a row each. `note` says more.
create table foxtrot.pauses (
    schedule_id uuid not null,
    since timestamptz not null,
    bucket smallint not null,
    user_id uuid not null,
    reason text not null check (reason in ('paused', 'inactive')),
    until timestamptz,
    note text,
    primary key (schedule_id, since, bucket),
    foreign key (schedule_id, bucket) references foxtrot.schedules (id, bucket) on delete cascade,
    check (since <= until)
);
create unique index pauses_open on foxtrot.pauses (schedule_id, bucket) where until is null;

insert into foxtrot.pauses (schedule_id, since, bucket, user_id, reason)
select id, coalesce(paused_at, updated_at), bucket, user_id, case when enabled then 'inactive' else 'paused' end
from foxtrot.schedules
where not enabled or dormant;

-- A held tick waits for the place in the queue of its one schedule, and comes after those that can go on.
alter table foxtrot.ticks add column held boolean not null default false;
update foxtrot.ticks set held = true where finished_at is null and through <> 'ffffffff-ffff-ffff-ffff-ffffffffffff';
drop index foxtrot.ticks_open;
create index ticks_open on foxtrot.ticks (held, scheduled_for, timetable_id, through) where finished_at is null;

-- Those that no schedule has any more are pruned, but not before they have lain there for a while.
alter table foxtrot.timetables add column created_at timestamptz not null default now();

alter table foxtrot.pauses enable row level security;
create policy service on foxtrot.pauses to foxtrot_service using (true) with check (true);
create policy own on foxtrot.pauses to foxtrot_api using (user_id = (select foxtrot.current_user_id()))
    with check (user_id = (select foxtrot.current_user_id()));
grant select, insert, update, delete on foxtrot.pauses to foxtrot_service;
grant select, insert, update on foxtrot.pauses to foxtrot_api;

-- A schedule joins ticks that have passed it, and holds its timetable and those ticks meanwhile. Locking a row takes
-- the right to update one of its columns: the one that nothing but housekeeping reads.
grant insert on foxtrot.ticks to foxtrot_api;
grant update (created_at) on foxtrot.ticks, foxtrot.timetables to foxtrot_api;
