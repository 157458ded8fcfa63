-- The open postings that have a phrase in their title; ids of 16 bytes each.
select source, board, string_agg(uuid_send(id), '') as title
from foxtrot.postings
where closed_at is null
    and source = any(%(sources)s::text[])
    and board = any(%(boards)s::text[])
    and heading @@ (select %(word)s::tsquery)
    and ts_filter(heading, '{a}') @@ %(word)s::tsquery
group by source, board
