-- Set fingerprints: and the org that is in them, of schedules that still ask for what they were made of.
with made as materialized (
    select *
    from unnest(
        %(ids)b::uuid[], %(buckets)b::smallint[], %(org_ids)b::text[], %(before)b::bytea[], %(fingerprints)b::bytea[]
    ) as m (id, bucket, org_id, before, fingerprint)
), held as materialized (
    select s.id, s.bucket, m.org_id, m.fingerprint
    from foxtrot.schedules s
    join made m on m.id = s.id and m.bucket = s.bucket and m.before = s.fingerprint
    order by s.id
    for update of s
)
update foxtrot.schedules s
set org_id = h.org_id, fingerprint = h.fingerprint
from held h
where s.id = h.id and s.bucket = h.bucket
