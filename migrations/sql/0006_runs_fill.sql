-- Room for the end: each page of runs keeps room for the second version of its rows, which says how they ended.

-- A second version on the same page needs no new index entries, and the page is tidied without a vacuum.
create or replace function foxtrot.make_run_partition(at timestamptz) returns text language plpgsql as $$
declare
    week timestamptz := date_trunc('week', at, 'UTC');
    name text := 'runs_' || to_char(week at time zone 'UTC', 'YYYYMMDD');
begin
    if to_regclass('foxtrot.' || name) is not null then
        return null;
    end if;
    execute format('create table foxtrot.%I (like foxtrot.runs including all) with (fillfactor = 55)', name);
    execute format(
        'alter table foxtrot.runs attach partition foxtrot.%I for values from (%L) to (%L)',
        name, foxtrot.uuid_floor(week), foxtrot.uuid_floor(week + interval '7 days')
    );
    return name;
exception when duplicate_table or duplicate_object or unique_violation then
    return null;  -- another process made it in the same moment
end $$;

do $$
declare
    part regclass;
begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'foxtrot.runs'::regclass loop
        execute format('alter table %s set (fillfactor = 55)', part);
    end loop;
end $$;
