-- Find timetable: the one with these expressions and this zone, kept from advancing until the transaction ends.
select id
from foxtrot.timetables
where crons = %(crons)s::text[] and zone = %(zone)s
for key share
