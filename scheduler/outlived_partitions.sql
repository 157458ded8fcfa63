-- Outlived partitions: the weeks of runs that ended longer ago than anything is kept, with how far their removal has come.
select
    c.relname as name,
    case when i.inhrelid is null then 'detached' when i.inhdetachpending then 'detaching' else 'attached' end as stage
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = 'foxtrot.runs'::regclass
where c.relnamespace = 'foxtrot'::regnamespace
    and c.relkind = 'r'
    and c.relname ~ '^runs_[0-9]{8}$'
    and (to_date(right(c.relname, 8), 'YYYYMMDD') + 7)::timestamp at time zone 'UTC' < now() - %(longest)s::interval
    and not exists (  -- one at a time can be detached: whoever comes second leaves them all to the first
        select from pg_stat_activity a
        where a.datname = current_database() and a.state = 'active'
            and starts_with(a.query, 'alter table foxtrot.runs detach partition')
    )
order by c.relname
