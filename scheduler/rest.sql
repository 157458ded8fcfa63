-- Rest: schedules of users who were last seen long ago turn dormant, and a pause says since when; who signs in meanwhile stays.
with absent as materialized (
    select s.id, s.bucket, s.user_id
    from foxtrot.schedules s
    join foxtrot.users u on u.id = s.user_id and u.bucket = s.bucket
    where u.last_seen_at < now() - %(inactive_after)s::interval and s.enabled and not s.dormant
    order by s.id
    limit %(at_most)s
    for update of s skip locked
    for share of u skip locked
), rested as (
    update foxtrot.schedules s
    set dormant = true
    from absent a
    where s.id = a.id and s.bucket = a.bucket
)
insert into foxtrot.pauses (schedule_id, since, bucket, user_id, reason)
select id, now(), bucket, user_id, 'inactive'
from absent
on conflict do nothing
