-- Count schedules: how many the user has, their kept searches aside.
select count(*)::int as schedules
from foxtrot.schedules
where user_id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s) and not starts_with(key, 'kept:')
