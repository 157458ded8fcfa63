-- Unenrolled: users after this one with a manual success of the kind and no schedule of it, with their last parameters.
select u.id as user_id, r.parameters
from foxtrot.users u
cross join lateral (
    select r.parameters
    from foxtrot.run_status r
    where r.user_id = u.id and r.bucket = u.bucket
        and r.kind = %(kind)s and r.source = 'manual' and r.status = 'success'
    order by r.id desc
    limit 1
) r
where u.id > %(after)s
    and not exists (
        select from foxtrot.schedules s where s.user_id = u.id and s.bucket = u.bucket and s.kind = %(kind)s
    )
order by u.id
limit %(at_most)s
