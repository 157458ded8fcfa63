-- Lock kinds: one claim at a time for kinds with a running limit, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('foxtrot.running.' || kind, 0))
from unnest(%(kinds)s::text[]) as kind
order by kind
