-- Match a search against the open postings of its boards: counts, a page of ids, each board's generation, one snapshot.
-- The query is asked for as a subselect so that the planner doesn't know its words: for common ones it would rather test
-- each posting, not knowing that each test reads TOAST (1,200 ms instead of 120 at 100,000 postings). Sources and boards
-- are tested one by one for the planner, who can estimate that, and as pairs where they are joined.
with matching as materialized (
    select
        id,
        source,
        board,
        opened_generation,
        ts_rank(heading, foxtrot.search_query(%(query)s)) as rank,
        coalesce(posted_at, first_seen_at) as dated_at
    from foxtrot.postings
    where closed_at is null
        and source = any(%(sources)s::text[])
        and board = any(%(boards)s::text[])
        and search @@ (select foxtrot.search_query(%(query)s))
        and (%(location)s::text is null or strpos(places_key, %(location)s) > 0)
        and (%(remote)s::boolean is null or coalesce(remote, false) = %(remote)s)
        and (
            %(posted_within)s::int is null
            or coalesce(posted_at, first_seen_at) > now() - %(posted_within)s * interval '24 hours'
        )
), asked as materialized (
    select unit.source, unit.board, unit.generation, coalesce(seen.generation, 0) as seen
    from unnest(%(sources)s::text[], %(boards)s::text[]) as wanted (source, board)
    join foxtrot.fetch_units unit using (source, board)
    left join jsonb_to_recordset(%(seen)s) as seen (source text, board text, generation bigint) using (source, board)
), found as materialized (
    select id, opened_generation > seen as new, rank, dated_at
    from matching
    join asked using (source, board)
)
select
    (select count(*) from found)::int as found,
    (select count(*) from found where new)::int as new,
    array(select id from found order by rank desc, dated_at desc, id offset %(offset)s limit %(limit)s) as ids,
    (
        select coalesce(jsonb_agg(jsonb_build_object('source', source, 'board', board, 'generation', generation)), '[]')
        from asked
    ) as generations
