-- Weeks ahead: how many weeks after this one have their partition of runs, up to the first that has none.
select greatest(min(n) - 1, 0) as weeks
from generate_series(0, 100) as n
where not exists (
    select
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'foxtrot.runs'::regclass
        and not i.inhdetachpending
        and c.relname = 'runs_' || to_char(
            date_trunc('week', now() + n * interval '168 hours', 'UTC') at time zone 'UTC', 'YYYYMMDD'
        )
)
