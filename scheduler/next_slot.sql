-- Next slot: how many seconds from now the first slot to come is, null when there is none.
select extract(epoch from min(next_slot) - now())::float8 as seconds
from foxtrot.timetables
where next_slot > now()
