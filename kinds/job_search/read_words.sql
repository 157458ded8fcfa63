-- What each word or phrase is looked up as, in their order; '' for one that is too common to be looked up.
select asked.words, foxtrot.phrase_query(asked.words)::text as lookup
from unnest(%(words)s::text[]) with ordinality as asked (words, place)
order by place
