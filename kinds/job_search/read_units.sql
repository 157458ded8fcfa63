-- How fetch units stand by the database's clock, in the order asked: fresh, taken, due, resting, or spent for today.
select
    asked.source,
    asked.board,
    case
        when unit.fetched_at > now() - asked.freshness then 'fresh'
        when unit.rests_until > now() or source.rests_until > now() then 'resting'
        when unit.lease_expires_at > now() then 'taken'
        when source.calls >= asked.calls_a_day and source.day = (now() at time zone 'UTC')::date then 'spent'
        else 'due'
    end as state,
    coalesce(unit.generation, 0) as generation,
    unit.fetched_at,
    case when source.rests_until > now() then source.error else unit.error end as error,
    coalesce(source.rests_until > now(), false) or coalesce(unit.error_can_pass, true) as error_can_pass,
    greatest(
        extract(epoch from unit.rests_until - now()), extract(epoch from source.rests_until - now()), 0
    )::float8 as rest_seconds
from unnest(%(sources)s::text[], %(boards)s::text[], %(freshness)s::interval[], %(calls_a_day)s::int[])
    with ordinality as asked (source, board, freshness, calls_a_day, place)
left join foxtrot.fetch_units unit on unit.source = asked.source and unit.board = asked.board
left join foxtrot.fetch_sources source on source.source = asked.source
order by asked.place
