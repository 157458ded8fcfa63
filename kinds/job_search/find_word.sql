-- The open postings that have a word or phrase: anywhere, in their heading, and in their title; ids of 16 bytes each.
select
    source,
    board,
    string_agg(uuid_send(id), '') as anywhere,
    coalesce(string_agg(uuid_send(id), '') filter (where heading @@ %(word)s::tsquery), '') as heading,
    coalesce(string_agg(uuid_send(id), '') filter (where ts_filter(heading, '{a}') @@ %(word)s::tsquery), '') as title
from foxtrot.postings
where closed_at is null
    and source = any(%(sources)s::text[])
    and board = any(%(boards)s::text[])
    and search @@ (select %(word)s::tsquery)
group by source, board
