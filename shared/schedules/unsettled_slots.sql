-- Unsettled slots: those of these that became neither a run nor a skip of the user's schedule, and that no tick will settle.
with slot as (
    select s.slot, foxtrot.bucket_of(%(user_id)s) as bucket
    from unnest(%(slots)s::timestamptz[]) as s (slot)
)
select s.slot
from slot s
join foxtrot.timetables t on t.id = %(timetable_id)s and t.next_slot > s.slot
where not exists (
        select from foxtrot.ticks k
        where k.timetable_id = t.id and k.scheduled_for = s.slot and k.finished_at is null
    )
    and not exists (
        select from foxtrot.runs r
        where r.id = foxtrot.cron_run_id(%(schedule_id)s, s.slot) and r.bucket = s.bucket
    )
    and not exists (
        select from foxtrot.skips k
        where k.schedule_id = %(schedule_id)s and k.scheduled_for = s.slot and k.bucket = s.bucket
    )
order by s.slot
