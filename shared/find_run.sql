-- Find run: the user's run as it stands now, live or final, and the instant of this reading.
select *, now() as read_at
from foxtrot.run_status
where id = %(run_id)s and user_id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s)
