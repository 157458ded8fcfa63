-- Job search: what the boards list, shared by all users, so that each board is asked once for everybody.

-- A fetch unit is one board of one source. Each successful fetch is a generation of it. A worker leases the unit while
-- it asks; nobody asks a unit that rests.
create table foxtrot.fetch_units (
    source text not null,
    board text not null,
    generation bigint not null default 0,
    fetched_at timestamptz,
    complete boolean,
    error text,
    error_can_pass boolean,
    rests_until timestamptz,
    leased_by uuid,
    lease_expires_at timestamptz,
    primary key (source, board),
    check ((generation > 0) = (fetched_at is not null)),
    check ((fetched_at is null) = (complete is null)),
    check ((error is null) = (error_can_pass is null)),
    check ((leased_by is null) = (lease_expires_at is null))
);

-- array_to_string is only stable, as it takes arrays of anything; of text it is immutable.
create function foxtrot.words(names text[]) returns text
language sql immutable strict parallel safe
return array_to_string(names, ' ');

-- The parser takes `Backend/API` for a path and `Vue.js` for a host, each one word; people mean two.
create function foxtrot.lexemes(words text) returns tsvector
language sql immutable strict parallel safe
return to_tsvector('english', translate(words, '/.', '  '));

create function foxtrot.search_query(words text) returns tsquery
language sql immutable strict parallel safe
return websearch_to_tsquery('english', translate(words, '/.', '  '));

-- `opened_generation` is the one in which the posting was first listed, or listed again after it had been closed.
-- `last_seen_at` is kept to the day while nothing else about a posting changes. `heading` is what a match is ranked by:
-- the whole `search` lies in TOAST, and reading it there for each of 30,000 matches takes a second.
create table foxtrot.postings (
    id uuid primary key default foxtrot.uuid7(now()),
    source text not null,
    board text not null,
    external_id text not null,
    url text not null,
    title text not null,
    company text not null,
    departments text[] not null,
    places text[] not null,
    places_key text not null,
    remote boolean,
    text text not null,
    posted_at timestamptz,
    content_hash text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    closed_at timestamptz,
    opened_generation bigint not null,
    heading tsvector not null generated always as (
        setweight(foxtrot.lexemes(title), 'A')
        || setweight(foxtrot.lexemes(company), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(departments)), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(places)), 'B')
    ) stored,
    search tsvector not null generated always as (
        setweight(foxtrot.lexemes(title), 'A')
        || setweight(foxtrot.lexemes(company), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(departments)), 'B')
        || setweight(foxtrot.lexemes(foxtrot.words(places)), 'B')
        || setweight(foxtrot.lexemes(text), 'C')
    ) stored,
    unique (source, board, external_id)
);
create index postings_search on foxtrot.postings using gin (search) where closed_at is null;
create index postings_open on foxtrot.postings (source, board) where closed_at is null;

grant select, insert, update, delete on foxtrot.fetch_units, foxtrot.postings to foxtrot_service;
grant select on foxtrot.fetch_units, foxtrot.postings to foxtrot_api;
