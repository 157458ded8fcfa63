-- Finished: which of these attempts are already final with this very outcome.
select r.id as run_id, r.attempt
from unnest(%(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(statuses)b::text[])
    as o (run_id, bucket, attempt, status)
join foxtrot.runs r on r.id = o.run_id and r.bucket = o.bucket
where r.attempt = o.attempt and r.status = o.status
