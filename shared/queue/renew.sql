-- Renew: extend a lease that still lives; one that expired is never renewed.
update foxtrot.workers
set lease_expires_at = now() + %(lease)s::interval
where id = %(worker_id)s and foxtrot.alive(lease_expires_at)
returning id
