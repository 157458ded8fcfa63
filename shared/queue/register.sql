-- Register: a process that is about to claim says who it is and takes its first lease.
insert into foxtrot.workers (host, pid, version, kinds, slots, lease_expires_at)
values (%(host)s, %(pid)s, %(version)s, %(kinds)s, %(slots)s, now() + %(lease)s::interval)
returning id
