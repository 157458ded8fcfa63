-- Job search over several sources: what each source allows, more of what postings say, and the same posting twice.

-- A source's own state, for all of its boards together: when it may be asked next, how often it was today, how long it
-- rests.
create table foxtrot.fetch_sources (
    source text primary key,
    day date,
    calls integer not null default 0,
    next_call_at timestamptz,
    rests_until timestamptz,
    error text,
    check ((rests_until is null) = (error is null))
);

-- `twin_key` is the same for the same position, whatever source lists it; null for rows of an older release, which are
-- written anew by the next fetch.
alter table foxtrot.postings
    drop column search,
    add column salary_min double precision,
    add column salary_max double precision,
    add column salary_currency text,
    add column salary_interval text,
    add column tags text[] not null default '{}',
    add column language text,
    add column twin_key bigint,
    add constraint postings_salary_interval_check check (salary_interval in ('hour', 'day', 'week', 'month', 'year'));
alter table foxtrot.postings
    add column search tsvector not null generated always as (
        setweight(foxtrot.lexemes(title), 'A')
        || setweight(foxtrot.lexemes(company), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(departments)), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(places)), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(tags)), 'C')
        || setweight(foxtrot.lexemes(text), 'C')
    ) stored;
create index postings_search on foxtrot.postings using gin (search) where closed_at is null;
create index postings_heading on foxtrot.postings using gin (heading) where closed_at is null;
create index postings_twins on foxtrot.postings (twin_key) where closed_at is null;

-- A word, or several in a row.
create function foxtrot.phrase_query(words text) returns tsquery
language sql immutable strict parallel safe
return phraseto_tsquery('english', translate(words, '/.', '  '));

grant select, insert, update, delete on foxtrot.fetch_sources to foxtrot_service;
grant select on foxtrot.fetch_sources to foxtrot_api;
