-- Make partitions: the weeks of runs from the oldest that is kept to the eighth ahead, those that are missing.
select name
from generate_series(now() - %(keep)s::interval, now() + interval '8 weeks', interval '168 hours') as at,
    foxtrot.make_run_partition(at) as name
where name is not null
