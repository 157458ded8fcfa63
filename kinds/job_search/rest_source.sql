-- Let a source that asked for it rest, with all of its boards.
update foxtrot.fetch_sources
set rests_until = greatest(rests_until, now() + %(rest)s),
    error = %(error)s
where source = %(source)s
