-- Postings by id, in the order of the ids, and where else each is open; ids that are gone are left out.
select
    posting.id, posting.source, posting.board, posting.url, posting.title, posting.company, posting.departments,
    posting.places, posting.remote, posting.salary_min, posting.salary_max, posting.salary_currency,
    posting.salary_interval, posting.tags, posting.language, posting.posted_at, posting.first_seen_at,
    posting.closed_at, left(posting.text, %(excerpt)s) as excerpt,
    (
        select coalesce(jsonb_agg(jsonb_build_object('source', twin.source, 'url', twin.url) order by twin.id), '[]')
        from foxtrot.postings twin
        where twin.twin_key = posting.twin_key
            and (twin.source, twin.board) <> (posting.source, posting.board)
            and twin.closed_at is null
    ) as also
from unnest(%(ids)s::uuid[]) with ordinality as listed (id, place)
join foxtrot.postings posting using (id)
order by listed.place
