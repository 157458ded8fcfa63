-- Open ticks: the first that are not finished and that no other scheduler is at, those that are held last.
with taken as materialized (  -- locked before anything else is asked, so that a row that has changed is looked at simply
    select k.timetable_id, k.scheduled_for, k.through, k.cursor, k.held
    from foxtrot.ticks k
    where k.finished_at is null
        and (k.timetable_id, k.scheduled_for, k.through) not in (
            select * from unnest(%(timetable_ids)s::uuid[], %(slots)s::timestamptz[], %(throughs)s::uuid[])
        )
    order by k.held, k.scheduled_for, k.timetable_id, k.through
    limit %(at_most)s::int
    for update of k skip locked
)
select
    k.*,
    not exists (
        select from foxtrot.ticks part
        where part.timetable_id = k.timetable_id and part.scheduled_for = k.scheduled_for
            and part.through <> k.through and not part.held
    ) as whole
from taken k
