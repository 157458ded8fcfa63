-- Outlook: whether a slot is due or a tick under way, and how many seconds from now the first slot to come is, if there is one.
select
    coalesce((select min(next_slot) from foxtrot.timetables) <= now(), false)
        or exists (
            select from (  -- in the order of the index of those alone: the table has a month of ticks
                select from foxtrot.ticks where finished_at is null order by held, scheduled_for limit 1
            ) as open
        ) as due,
    (select extract(epoch from min(next_slot) - now())::float8 from foxtrot.timetables where next_slot > now()) as seconds
