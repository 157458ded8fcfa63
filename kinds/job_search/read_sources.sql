-- How each source stands by the database's clock: what was asked of it today, how long it rests, how many boards it has.
select
    asked.name,
    case when source.day = (now() at time zone 'UTC')::date then source.calls else 0 end as calls_today,
    greatest(extract(epoch from source.rests_until - now()), 0)::float8 as rest_seconds,
    case when source.rests_until > now() then source.error end as trouble,
    (select count(*) from foxtrot.fetch_units unit where unit.source = asked.name and unit.generation > 0)::int as boards,
    (
        select count(*) from foxtrot.postings posting where posting.source = asked.name and posting.closed_at is null
    )::int as postings
from unnest(%(names)s::text[]) with ordinality as asked (name, place)
left join foxtrot.fetch_sources source on source.source = asked.name
order by asked.place
