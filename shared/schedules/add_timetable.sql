-- Add timetable: unless somebody else adds the same rule at the same time.
insert into foxtrot.timetables (crons, zone, next_slot, tzdata)
values (%(crons)s, %(zone)s, %(next_slot)s, %(tzdata)s)
on conflict do nothing
