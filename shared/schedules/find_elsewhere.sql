-- Find elsewhere: the user's schedules that are of another org than the user is in, locked, with that org.
select s.id, s.bucket, u.org_id, s.kind, s.parameters, s.fingerprint
from foxtrot.users u
join foxtrot.schedules s on s.user_id = u.id and s.bucket = u.bucket
where u.id = %(user_id)s and u.bucket = foxtrot.bucket_of(%(user_id)s) and s.org_id is distinct from u.org_id
order by s.id
for update of s
