-- Reusable: the newest success of the same user and fingerprint that is younger than reuse_for.
select id as run_id
from foxtrot.runs
where user_id = %(user_id)s
    and bucket = foxtrot.bucket_of(%(user_id)s)
    and fingerprint = %(fingerprint)s
    and status = 'success'
    and finished_at > now() - %(reuse_for)s::interval
    and expires_at > now()
order by finished_at desc
limit 1
