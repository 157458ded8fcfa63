-- Lease a fetch unit if it is due and its source, locked, may be asked; answers how many seconds to wait before asking.
with source as materialized (
    select
        source,
        case when day = (now() at time zone 'UTC')::date then calls else 0 end as calls,
        greatest(next_call_at, now()) as asks_at
    from foxtrot.fetch_sources
    where source = %(source)s and coalesce(rests_until <= now(), true)
), leased as (
    insert into foxtrot.fetch_units as unit (source, board, leased_by, lease_expires_at)
    select source, %(board)s, %(owner)s, asks_at + %(lease)s
    from source
    where calls < coalesce(%(calls_a_day)s::int, calls + 1) and asks_at <= now() + %(patience)s
    on conflict (source, board) do update
    set leased_by = excluded.leased_by,
        lease_expires_at = excluded.lease_expires_at
    where coalesce(unit.fetched_at <= now() - %(freshness)s, true)
        and coalesce(unit.rests_until <= now(), true)
        and coalesce(unit.lease_expires_at <= now(), true)
    returning unit.source
)
update foxtrot.fetch_sources asked
set day = (now() at time zone 'UTC')::date,
    calls = source.calls + 1,
    next_call_at = source.asks_at + %(gap)s,
    rests_until = null,
    error = null
from source
join leased using (source)
where asked.source = source.source
returning extract(epoch from source.asks_at - now())::float8 as wait
