-- Upsert user: add the user or take over what is new about them; last_seen_at moves at most once an hour.
insert into foxtrot.users as u (id, bucket, org_id, email, zone, last_seen_at)
values (
    %(user_id)s, foxtrot.bucket_of(%(user_id)s), %(org_id)s, %(email)s, %(zone)s,
    case when %(seen)s::bool then now() end
)
on conflict (id, bucket) do update set
    org_id = excluded.org_id,
    email = coalesce(excluded.email, u.email),
    zone = coalesce(u.zone, excluded.zone),
    last_seen_at = case
        when excluded.last_seen_at < u.last_seen_at + interval '1 hour' then u.last_seen_at
        else coalesce(excluded.last_seen_at, u.last_seen_at)
    end
where u.org_id is distinct from excluded.org_id
    or u.email is distinct from coalesce(excluded.email, u.email)
    or u.zone is null and excluded.zone is not null
    or excluded.last_seen_at >= coalesce(u.last_seen_at, '-infinity') + interval '1 hour'
