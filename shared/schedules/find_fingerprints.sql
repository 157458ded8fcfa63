-- Find fingerprints: those of the next schedules of a kind, by id, with what they are made of.
select id, bucket, org_id, kind, parameters, fingerprint
from foxtrot.schedules
where kind = %(kind)s and id > %(after)s
order by id
limit %(at_most)s
