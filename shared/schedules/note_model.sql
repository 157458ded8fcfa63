-- Note model: remember the model that the fingerprints of a kind's schedules are made with now.
insert into foxtrot.models (kind, digest)
values (%(kind)s, %(digest)s)
on conflict (kind) do update set digest = excluded.digest, updated_at = now()
