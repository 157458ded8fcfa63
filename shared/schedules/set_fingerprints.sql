-- Set fingerprints: of schedules that still ask for what the fingerprints were made of.
with made as materialized (
    select *
    from unnest(%(ids)b::uuid[], %(buckets)b::smallint[], %(before)b::bytea[], %(fingerprints)b::bytea[])
        as m (id, bucket, before, fingerprint)
), held as materialized (
    select s.id, s.bucket, m.fingerprint
    from foxtrot.schedules s
    join made m on m.id = s.id and m.bucket = s.bucket and m.before = s.fingerprint
    order by s.id
    for update of s
)
update foxtrot.schedules s
set fingerprint = h.fingerprint
from held h
where s.id = h.id and s.bucket = h.bucket
