-- Held: the attempts that the queue says this worker is making.
select run_id, attempt
from foxtrot.queue
where worker_id = %(worker_id)s
