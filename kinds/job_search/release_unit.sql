-- End a worker's lease on a fetch unit that it got no postings from, and let the unit rest when there was an error.
update foxtrot.fetch_units
set leased_by = null,
    lease_expires_at = null,
    error = coalesce(%(error)s, error),
    error_can_pass = coalesce(%(error_can_pass)s, error_can_pass),
    rests_until = coalesce(now() + %(rest)s, rests_until)
where source = %(source)s and board = %(board)s and leased_by = %(owner)s
