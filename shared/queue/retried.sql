-- Retried: which of these failures are kept with their runs already, as an earlier call left them.
select r.id as run_id, f.attempt
from unnest(%(run_ids)b::uuid[], %(buckets)b::smallint[], %(attempts)b::int[], %(errors)b::jsonb[])
    as f (run_id, bucket, attempt, error)
join foxtrot.runs r on r.id = f.run_id and r.bucket = f.bucket
where (r.status is null or r.attempt > f.attempt)
    and r.errors @> jsonb_build_array(f.error || jsonb_build_object('attempt', f.attempt))
