-- The open postings of fetch units, a row for each unit that was ever fetched: lists side by side, newest posting first.
select unit.source, unit.board, unit.generation, unit.complete, listed.*
from unnest(%(sources)s::text[], %(boards)s::text[]) as asked (source, board)
join foxtrot.fetch_units unit using (source, board)
cross join lateral (
    select
        coalesce(string_agg(uuid_send(id), ''), '') as ids,
        coalesce(array_agg(opened_generation), '{}') as opened,
        coalesce(array_agg(extract(epoch from dated_at)::float8), '{}') as dated,
        coalesce(array_agg(remote), '{}') as remote,
        coalesce(array_agg(places_key), '{}') as places,
        coalesce(array_agg(coalesce(twin_key, 0)), '{}') as twins
    from (
        select *, coalesce(posted_at, first_seen_at) as dated_at
        from foxtrot.postings posting
        where posting.source = unit.source and posting.board = unit.board and closed_at is null
        order by dated_at desc, id
    ) as posting
) as listed
where unit.generation > 0
