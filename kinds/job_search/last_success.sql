-- What the user's last success with the same parameters saw of each board.
select result -> 'sources' as sources
from foxtrot.runs
where user_id = %(user_id)s
    and fingerprint = %(fingerprint)s
    and status = 'success'
    and result is not null
    and expires_at > now()
order by finished_at desc, id desc
limit 1
