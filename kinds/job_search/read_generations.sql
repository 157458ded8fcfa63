-- The generation of fetch units, in the order asked; 0 for one that was never fetched.
select coalesce(unit.generation, 0) as generation
from unnest(%(sources)s::text[], %(boards)s::text[]) with ordinality as asked (source, board, place)
left join foxtrot.fetch_units unit using (source, board)
order by place
