-- Same model: whether the fingerprints of a kind's schedules were made with this model of its parameters.
select exists (select from foxtrot.models where kind = %(kind)s and digest = %(digest)s) as holds
