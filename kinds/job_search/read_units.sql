-- How fetch units stand by the database's clock, in the order asked: fresh, resting, taken, or due to be asked.
select
    asked.source,
    asked.board,
    case
        when unit.fetched_at > now() - asked.freshness then 'fresh'
        when unit.rests_until > now() then 'resting'
        when unit.lease_expires_at > now() then 'taken'
        else 'due'
    end as state,
    coalesce(unit.generation, 0) as generation,
    unit.fetched_at,
    unit.error,
    coalesce(unit.error_can_pass, true) as error_can_pass,
    greatest(extract(epoch from unit.rests_until - now()), 0)::float8 as rest_seconds
from unnest(%(sources)s::text[], %(boards)s::text[], %(freshness)s::interval[])
    with ordinality as asked (source, board, freshness, place)
left join foxtrot.fetch_units unit on unit.source = asked.source and unit.board = asked.board
order by asked.place
