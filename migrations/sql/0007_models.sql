-- The parameters models that fingerprints were made with: one that changed has those of its schedules made anew.
create table foxtrot.models (
    kind text primary key,
    digest bytea not null check (octet_length(digest) = 16),
    updated_at timestamptz not null default now()
);
grant select, insert, update, delete on foxtrot.models to foxtrot_service;
