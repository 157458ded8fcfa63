-- Rescue: give back the runs of dead workers; a run rescued for the third time fails instead.
with recursive holder as (
    -- One index probe per worker, whatever the statistics say of how many rows are held.
    (select worker_id from foxtrot.queue where worker_id is not null order by worker_id limit 1)
    union all
    select (select q.worker_id from foxtrot.queue q where q.worker_id > h.worker_id order by q.worker_id limit 1)
    from holder h
    where h.worker_id is not null
), gone as materialized (
    select h.worker_id
    from holder h
    where h.worker_id is not null
        and not exists (
            select from foxtrot.workers w where w.id = h.worker_id and foxtrot.alive(w.lease_expires_at)
        )
), dead as materialized (
    -- Looked up by `gone`, so that a row which a live worker has claimed meanwhile is seen to be its own and left alone.
    select q.*
    from gone g
    cross join lateral (
        select run_id, bucket, attempt, rescues, step, percent, started_at
        from foxtrot.queue
        where worker_id = g.worker_id
        limit %(at_most)s::int
        for update skip locked
    ) q
    limit %(at_most)s::int
), given_back as (
    update foxtrot.queue q
    set worker_id = null,
        rescues = q.rescues + 1,
        max_attempts = q.max_attempts + 1,
        percent = null, step = null, detail = null, done = null, total = null,
        updated_at = now()
    from dead d
    where q.run_id = d.run_id and q.bucket = d.bucket and d.rescues < 2
    returning q.run_id
), ended as (
    delete from foxtrot.queue q
    using dead d
    where q.run_id = d.run_id and q.bucket = d.bucket and d.rescues >= 2
), failed as (
    update foxtrot.runs r
    set status = 'failed',
        attempt = d.attempt,
        started_at = d.started_at,
        finished_at = now(),
        headline = 'Stopped its worker three times',
        errors = r.errors || jsonb_build_object(
            'class', 'WorkerLost',
            'message', 'The worker died while it ran this, three times.',
            'hint', 'Look at the worker''s log and memory around these times.',
            'attempt', d.attempt, 'at', now(), 'step', d.step, 'percent', d.percent
        ),
        expires_at = now() + %(retention)s::interval
    from dead d
    where r.id = d.run_id and r.bucket = d.bucket and d.rescues >= 2
    returning r.id
)
select
    (select count(*) from given_back)::int as given_back,
    (select count(*) from failed)::int as failed,
    array(select id from failed) as failed_ids
