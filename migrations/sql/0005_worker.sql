-- The worker engine: how often a provider may be called, by all workers together.

-- When the provider may be called next; each call moves it on by its share of a minute.
create table foxtrot.rates (
    provider text primary key check (length(provider) between 1 and 100),
    next_call_at timestamptz not null
);
grant select, insert, update, delete on foxtrot.rates to foxtrot_service;
