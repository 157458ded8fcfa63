-- Take turn: the provider's next call is ours, and the one after it comes a share of a minute later.
insert into foxtrot.rates as r (provider, next_call_at)
values (%(provider)s, now() + %(every)s::interval)
on conflict (provider) do update set next_call_at = greatest(r.next_call_at, now()) + %(every)s::interval
returning next_call_at - %(every)s::interval - now() as wait
