-- Store one answer of a board under the lease: write what is new or changed, close what it lacks, forget what is old.
-- Only a complete answer closes what it lacks; what no answer has listed for long is dropped.
with unit as materialized (
    update foxtrot.fetch_units
    set generation = generation + 1,
        fetched_at = now(),
        complete = %(complete)s,
        error = null,
        error_can_pass = null,
        rests_until = null,
        leased_by = null,
        lease_expires_at = null
    where source = %(source)s and board = %(board)s and leased_by = %(owner)s
    returning source, board, generation, fetched_at
), listed as materialized (
    select *
    from jsonb_to_recordset(%(postings)s) as posting (
        external_id text, url text, title text, company text, departments text[], places text[], places_key text,
        remote boolean, text text, posted_at timestamptz, salary_min float8, salary_max float8, salary_currency text,
        salary_interval text, tags text[], language text, twin_key bigint, content_hash text
    )
), changed as (
    select unit.source, unit.board, unit.generation, listed.*
    from unit
    cross join listed
    where not exists (
        select
        from foxtrot.postings known
        where known.source = unit.source
            and known.board = unit.board
            and known.external_id = listed.external_id
            and known.content_hash = listed.content_hash
            and known.closed_at is null
            and known.last_seen_at > now() - interval '24 hours'
    )
), written as (
    insert into foxtrot.postings as known (
        id, source, board, external_id, url, title, company, departments, places, places_key, remote, text, posted_at,
        salary_min, salary_max, salary_currency, salary_interval, tags, language, twin_key, content_hash,
        first_seen_at, last_seen_at, opened_generation
    )
    select
        foxtrot.uuid7(now()), source, board, external_id, url, title, company, departments, places, places_key, remote,
        text, posted_at, salary_min, salary_max, salary_currency, salary_interval, tags, language, twin_key,
        content_hash, now(), now(), generation
    from changed
    order by external_id
    on conflict (source, board, external_id) do update
    set url = excluded.url,
        title = excluded.title,
        company = excluded.company,
        departments = excluded.departments,
        places = excluded.places,
        places_key = excluded.places_key,
        remote = excluded.remote,
        text = excluded.text,
        posted_at = excluded.posted_at,
        salary_min = excluded.salary_min,
        salary_max = excluded.salary_max,
        salary_currency = excluded.salary_currency,
        salary_interval = excluded.salary_interval,
        tags = excluded.tags,
        language = excluded.language,
        twin_key = excluded.twin_key,
        content_hash = excluded.content_hash,
        last_seen_at = excluded.last_seen_at,
        closed_at = null,
        opened_generation = case
            when known.closed_at is null then known.opened_generation
            else excluded.opened_generation
        end
    returning known.opened_generation
), closed as (
    update foxtrot.postings missing
    set closed_at = now()
    from unit
    where %(complete)s
        and missing.source = unit.source
        and missing.board = unit.board
        and missing.closed_at is null
        and missing.last_seen_at > now() - %(kept)s
        and not exists (select from listed where listed.external_id = missing.external_id)
    returning missing.id
), forgotten as (
    delete from foxtrot.postings gone
    using unit
    where gone.source = unit.source
        and gone.board = unit.board
        and gone.last_seen_at <= now() - %(kept)s
        and not exists (select from listed where listed.external_id = gone.external_id)
)
select
    unit.generation,
    unit.fetched_at,
    (select count(*) from written)::int as written,
    (select count(*) from written where opened_generation = unit.generation)::int as opened,
    (select count(*) from closed)::int as closed
from unit
