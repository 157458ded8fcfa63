-- Postings by id, in the order of the ids; ids that are gone are left out.
select
    posting.id, posting.source, posting.board, posting.url, posting.title, posting.company, posting.departments,
    posting.places, posting.remote, posting.posted_at, posting.first_seen_at, posting.closed_at,
    left(posting.text, %(excerpt)s) as excerpt
from unnest(%(ids)s::uuid[]) with ordinality as listed (id, place)
join foxtrot.postings posting using (id)
order by listed.place
