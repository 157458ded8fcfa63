-- Enqueue: add each asked run, or promote and return the live run that has the same user and fingerprint.
with asked as materialized (
    select
        a.*,
        foxtrot.uuid7(now()) as run_id,
        foxtrot.bucket_of(a.user_id) as bucket,
        (select clock_timestamp()) as stamp
    from unnest(
        %(user_ids)b::uuid[], %(org_ids)b::text[], %(kinds)b::text[], %(subjects)b::text[], %(sources)b::text[],
        %(lanes)b::smallint[], %(parameters)b::jsonb[], %(fingerprints)b::bytea[], %(client_contexts)b::jsonb[],
        %(schedule_ids)b::uuid[], %(retries_of)b::uuid[], %(available_at)b::timestamptz[], %(max_attempts)b::int[]
    ) with ordinality as a (
        user_id, org_id, kind, subject, source, lane, parameters, fingerprint, client_context,
        schedule_id, retry_of, available_at, max_attempts, position
    )
), entered as (
    insert into foxtrot.queue as q (
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, max_attempts, updated_at
    )
    select
        run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, coalesce(available_at, now()),
        max_attempts, stamp
    from asked
    order by user_id, fingerprint
    on conflict (user_id, fingerprint, bucket) do update set
        lane = case when q.worker_id is null then least(q.lane, excluded.lane) else q.lane end,
        available_at = case
            when q.worker_id is null and q.waiting is distinct from 'quota' then least(q.available_at, excluded.available_at)
            else q.available_at
        end,
        waiting = case
            when q.worker_id is null and q.waiting <> 'quota' and q.available_at > excluded.available_at then null
            else q.waiting
        end,
        -- The stamp marks the row as promoted by this statement; RETURNING can't see what the row was before.
        updated_at = case
            when q.worker_id is null and q.lane > excluded.lane then excluded.updated_at
            when q.worker_id is null and q.waiting is distinct from 'quota' and q.available_at > excluded.available_at
                then excluded.updated_at
            else q.updated_at
        end
    returning q.run_id, q.bucket, q.user_id, q.fingerprint, q.waiting, q.available_at, q.updated_at
), answered as materialized (
    select a.*, e.run_id as answer, e.waiting as held_by, e.available_at as due_at, e.updated_at
    from asked a
    join entered e on e.user_id = a.user_id and e.fingerprint = a.fingerprint and e.bucket = a.bucket
), inserted as (
    insert into foxtrot.runs (
        id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, client_context,
        schedule_id, retry_of, created_at
    )
    select
        run_id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, client_context,
        schedule_id, retry_of, now()
    from answered
    where answer = run_id
)
select answer, answer = run_id as created, answer <> run_id and updated_at = stamp as promoted, held_by, due_at
from answered
order by position
