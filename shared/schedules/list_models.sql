-- List models: those that the fingerprints of each kind's schedules were made with.
select kind, digest from foxtrot.models
