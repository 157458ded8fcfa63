-- Sweep: empty the expired runs among the next in id order; the rows stay, because they keep their slots settled.
with looked_at as materialized (
    select id, bucket, expires_at <= now() as expired
    from foxtrot.runs
    where id > %(after)s and id < foxtrot.uuid_floor(now())
    order by id
    limit %(at_most)s
), emptied as (
    update foxtrot.runs r
    set parameters = '{}', client_context = null, headline = null, result = null, errors = '[]'
    from looked_at l
    where r.id = l.id and r.bucket = l.bucket and l.expired
        and (r.parameters, r.client_context, r.headline, r.result, r.errors)
            is distinct from ('{}'::jsonb, null::jsonb, null::text, null::jsonb, '[]'::jsonb)
    returning r.id
)
select
    (select count(*) from looked_at)::int as looked_at,
    (select count(*) from emptied)::int as emptied,
    (select id from looked_at order by id desc limit 1) as last
