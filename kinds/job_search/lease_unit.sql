-- Lease a fetch unit if it is due: neither fresh, nor resting, nor leased to another whose time is not over.
insert into foxtrot.fetch_units as unit (source, board, leased_by, lease_expires_at)
values (%(source)s, %(board)s, %(owner)s, now() + %(lease)s)
on conflict (source, board) do update
set leased_by = excluded.leased_by,
    lease_expires_at = excluded.lease_expires_at
where coalesce(unit.fetched_at <= now() - %(freshness)s, true)
    and coalesce(unit.rests_until <= now(), true)
    and coalesce(unit.lease_expires_at <= now(), true)
returning true as leased
