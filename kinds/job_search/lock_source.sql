-- Lock a source's row, making it if there is none: what may be asked of the source is decided by one worker at a time.
insert into foxtrot.fetch_sources as source (source)
values (%(source)s)
on conflict (source) do update
set source = excluded.source
