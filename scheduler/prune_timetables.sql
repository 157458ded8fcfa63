-- Prune timetables: of those that are held as unused, the ones that no schedule joined before; their ticks go with them.
delete from foxtrot.timetables t
where t.id = any(%(ids)s::uuid[])
    and not exists (select from foxtrot.schedules s where s.timetable_id = t.id)
