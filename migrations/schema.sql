CREATE SCHEMA foxtrot;

CREATE FUNCTION foxtrot.alive(lease_expires_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (GREATEST(lease_expires_at, (pg_postmaster_start_time() + '00:00:15'::interval)) > now());

CREATE FUNCTION foxtrot.bucket_of(user_id uuid) RETURNS smallint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((get_byte(uuid_send(user_id), 15) & 63))::smallint;

CREATE FUNCTION foxtrot.uuid_floor(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (encode((SUBSTRING(int8send((floor((EXTRACT(epoch FROM (at - to_timestamp((0)::double precision))) * (1000)::numeric)))::bigint) FROM 3) || '\x00000000000000000000'::bytea), 'hex'::text))::uuid;

CREATE FUNCTION foxtrot.cron_run_id(schedule_id uuid, slot timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (OVERLAY(OVERLAY(OVERLAY(md5(((schedule_id)::text || (foxtrot.uuid_floor(slot))::text)) PLACING '8'::text FROM 17) PLACING '8'::text FROM 13) PLACING SUBSTRING(replace((foxtrot.uuid_floor(slot))::text, '-'::text, ''::text) FROM 1 FOR 12) FROM 1))::uuid;

CREATE FUNCTION foxtrot.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NULLIF(current_setting('foxtrot.user_id'::text, true), ''::text))::uuid;

CREATE FUNCTION foxtrot.lexemes(words text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_tsvector('english'::regconfig, translate(words, '/.'::text, '  '::text));

CREATE FUNCTION foxtrot.make_run_partition(at timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
    week timestamptz := date_trunc('week', at, 'UTC');
    name text := 'runs_' || to_char(week at time zone 'UTC', 'YYYYMMDD');
begin
    if to_regclass('foxtrot.' || name) is not null then
        return null;
    end if;
    execute format('create table foxtrot.%I (like foxtrot.runs including all) with (fillfactor = 55)', name);
    execute format(
        'alter table foxtrot.runs attach partition foxtrot.%I for values from (%L) to (%L)',
        name, foxtrot.uuid_floor(week), foxtrot.uuid_floor(week + interval '7 days')
    );
    return name;
exception when duplicate_table or duplicate_object or unique_violation then
    return null;  -- another process made it in the same moment
end $$;

CREATE FUNCTION foxtrot.phrase_query(words text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN phraseto_tsquery('english'::regconfig, translate(words, '/.'::text, '  '::text));

CREATE FUNCTION foxtrot.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception 'foxtrot.audit_log is append-only: % refused', lower(tg_op);
end $$;

CREATE FUNCTION foxtrot.search_query(words text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN websearch_to_tsquery('english'::regconfig, translate(words, '/.'::text, '  '::text));

CREATE FUNCTION foxtrot.uuid7(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql STRICT PARALLEL SAFE
    RETURN (encode(set_bit(set_bit(OVERLAY(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send((floor((EXTRACT(epoch FROM at) * (1000)::numeric)))::bigint) FROM 3) FROM 1 FOR 6) PLACING SUBSTRING(int4send((16384 + (((((EXTRACT(microseconds FROM at))::bigint % (1000)::bigint) * 4096) / 1000))::integer)) FROM 3) FROM 7 FOR 2), (52)::bigint, 1), (53)::bigint, 1), 'hex'::text))::uuid;

CREATE FUNCTION foxtrot.words(names text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN array_to_string(names, ' '::text);

CREATE TABLE foxtrot.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE foxtrot.audit_log (
    id uuid DEFAULT foxtrot.uuid7(now()) NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    user_id uuid,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE TABLE foxtrot.fetch_sources (
    source text NOT NULL,
    day date,
    calls integer DEFAULT 0 NOT NULL,
    next_call_at timestamp with time zone,
    rests_until timestamp with time zone,
    error text,
    CONSTRAINT fetch_sources_check CHECK (((rests_until IS NULL) = (error IS NULL)))
);

CREATE TABLE foxtrot.fetch_units (
    source text NOT NULL,
    board text NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    fetched_at timestamp with time zone,
    complete boolean,
    error text,
    error_can_pass boolean,
    rests_until timestamp with time zone,
    leased_by uuid,
    lease_expires_at timestamp with time zone,
    CONSTRAINT fetch_units_check CHECK (((generation > 0) = (fetched_at IS NOT NULL))),
    CONSTRAINT fetch_units_check1 CHECK (((fetched_at IS NULL) = (complete IS NULL))),
    CONSTRAINT fetch_units_check2 CHECK (((error IS NULL) = (error_can_pass IS NULL))),
    CONSTRAINT fetch_units_check3 CHECK (((leased_by IS NULL) = (lease_expires_at IS NULL)))
);

CREATE TABLE foxtrot.models (
    kind text NOT NULL,
    digest bytea NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT models_digest_check CHECK ((octet_length(digest) = 16))
);

CREATE TABLE foxtrot.pauses (
    schedule_id uuid NOT NULL,
    since timestamp with time zone NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    until timestamp with time zone,
    note text,
    CONSTRAINT pauses_check CHECK ((since <= until)),
    CONSTRAINT pauses_reason_check CHECK ((reason = ANY (ARRAY['paused'::text, 'inactive'::text])))
);

CREATE TABLE foxtrot.postings (
    id uuid DEFAULT foxtrot.uuid7(now()) NOT NULL,
    source text NOT NULL,
    board text NOT NULL,
    external_id text NOT NULL,
    url text NOT NULL,
    title text NOT NULL,
    company text NOT NULL,
    departments text[] NOT NULL,
    places text[] NOT NULL,
    places_key text NOT NULL,
    remote boolean,
    text text NOT NULL,
    posted_at timestamp with time zone,
    content_hash text NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    opened_generation bigint NOT NULL,
    heading tsvector GENERATED ALWAYS AS ((((setweight(foxtrot.lexemes(title), 'A'::"char") || setweight(foxtrot.lexemes(company), 'B'::"char")) || setweight(foxtrot.lexemes(foxtrot.words(departments)), 'B'::"char")) || setweight(foxtrot.lexemes(foxtrot.words(places)), 'B'::"char"))) STORED NOT NULL,
    salary_min double precision,
    salary_max double precision,
    salary_currency text,
    salary_interval text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    twin_key bigint,
    search tsvector GENERATED ALWAYS AS ((((((setweight(foxtrot.lexemes(title), 'A'::"char") || setweight(foxtrot.lexemes(company), 'B'::"char")) || setweight(foxtrot.lexemes(foxtrot.words(departments)), 'B'::"char")) || setweight(foxtrot.lexemes(foxtrot.words(places)), 'B'::"char")) || setweight(foxtrot.lexemes(foxtrot.words(tags)), 'C'::"char")) || setweight(foxtrot.lexemes(text), 'C'::"char"))) STORED NOT NULL,
    CONSTRAINT postings_salary_interval_check CHECK ((salary_interval = ANY (ARRAY['hour'::text, 'day'::text, 'week'::text, 'month'::text, 'year'::text])))
);

CREATE TABLE foxtrot.queue (
    run_id uuid NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    org_id text,
    subject text,
    kind text NOT NULL,
    fingerprint bytea NOT NULL,
    lane smallint NOT NULL,
    available_at timestamp with time zone NOT NULL,
    waiting text,
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    rescues smallint DEFAULT 0 NOT NULL,
    worker_id uuid,
    started_at timestamp with time zone,
    percent smallint,
    step text,
    detail text,
    done integer,
    total integer,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT queue_lane_check CHECK (((lane >= 0) AND (lane <= 2))),
    CONSTRAINT queue_max_attempts_check CHECK ((max_attempts > 0)),
    CONSTRAINT queue_percent_check CHECK (((percent >= 0) AND (percent <= 100))),
    CONSTRAINT queue_waiting_check CHECK ((waiting = ANY (ARRAY['spread'::text, 'retry'::text, 'quota'::text, 'snooze'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_insert_scale_factor='0.0', autovacuum_vacuum_insert_threshold='50000', autovacuum_analyze_scale_factor='0.05', autovacuum_analyze_threshold='5000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE foxtrot.rates (
    provider text NOT NULL,
    next_call_at timestamp with time zone NOT NULL,
    CONSTRAINT rates_provider_check CHECK (((length(provider) >= 1) AND (length(provider) <= 100)))
);

CREATE TABLE foxtrot.runs (
    id uuid NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    org_id text,
    kind text NOT NULL,
    subject text,
    source text NOT NULL,
    parameters jsonb NOT NULL,
    fingerprint bytea NOT NULL,
    client_context jsonb,
    schedule_id uuid,
    scheduled_for timestamp with time zone,
    retry_of uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    status text,
    attempt integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    headline text,
    result jsonb,
    errors jsonb DEFAULT '[]'::jsonb NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT runs_check CHECK (((status IS NULL) = (finished_at IS NULL))),
    CONSTRAINT runs_headline_check CHECK ((length(headline) <= 120)),
    CONSTRAINT runs_source_check CHECK ((source = ANY (ARRAY['manual'::text, 'cron'::text, 'backfill'::text]))),
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['success'::text, 'failed'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (id);

CREATE VIEW foxtrot.run_status WITH (security_invoker='true') AS
 SELECT r.id,
    r.bucket,
    r.user_id,
    r.org_id,
    r.kind,
    r.subject,
    r.source,
    r.parameters,
    r.fingerprint,
    r.client_context,
    r.schedule_id,
    r.scheduled_for,
    r.retry_of,
    r.created_at,
        CASE
            WHEN (r.status IS NOT NULL) THEN r.status
            WHEN (q.worker_id IS NULL) THEN 'pending'::text
            ELSE 'running'::text
        END AS status,
    COALESCE(q.attempt, r.attempt) AS attempt,
    q.max_attempts,
    COALESCE(r.started_at, q.started_at) AS started_at,
    r.finished_at,
    q.lane,
    q.available_at,
    q.waiting,
    q.worker_id,
        CASE
            WHEN (r.status = 'success'::text) THEN 100
            ELSE (q.percent)::integer
        END AS percent,
    q.step,
    q.detail,
    q.done,
    q.total,
    COALESCE(r.finished_at, q.updated_at, r.created_at) AS updated_at,
    r.headline,
    r.result,
    r.errors,
    (r.errors -> '-1'::integer) AS error,
    r.expires_at
   FROM (foxtrot.runs r
     LEFT JOIN foxtrot.queue q ON (((q.run_id = r.id) AND (q.bucket = r.bucket))))
  WHERE ((r.expires_at IS NULL) OR (r.expires_at > now()));

CREATE TABLE foxtrot.run_steps (
    run_id uuid NOT NULL,
    name text NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    attempt integer NOT NULL,
    value jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT run_steps_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100)))
);

CREATE TABLE foxtrot.schedules (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    org_id text,
    key text NOT NULL,
    kind text NOT NULL,
    subject text,
    parameters jsonb NOT NULL,
    fingerprint bytea NOT NULL,
    timetable_id uuid NOT NULL,
    zone text NOT NULL,
    spread_seconds integer DEFAULT 0 NOT NULL,
    catch_up text DEFAULT 'latest'::text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    paused_at timestamp with time zone,
    dormant boolean DEFAULT false NOT NULL,
    effective_from timestamp with time zone DEFAULT now() NOT NULL,
    note text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    timed_from timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schedules_bucket_check CHECK (((bucket >= 0) AND (bucket <= 63))),
    CONSTRAINT schedules_catch_up_check CHECK ((catch_up = ANY (ARRAY['latest'::text, 'all'::text, 'none'::text]))),
    CONSTRAINT schedules_check CHECK ((enabled = (paused_at IS NULL))),
    CONSTRAINT schedules_fingerprint_check CHECK ((length(fingerprint) = 16)),
    CONSTRAINT schedules_key_check CHECK (((length(key) >= 1) AND (length(key) <= 100))),
    CONSTRAINT schedules_spread_seconds_check CHECK (((spread_seconds >= 0) AND (spread_seconds <= 86400)))
);

CREATE TABLE foxtrot.skips (
    schedule_id uuid NOT NULL,
    scheduled_for timestamp with time zone NOT NULL,
    bucket smallint NOT NULL,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    run_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT skips_reason_check CHECK ((reason = ANY (ARRAY['overlap'::text, 'not_configured'::text])))
);

CREATE TABLE foxtrot.ticks (
    timetable_id uuid NOT NULL,
    scheduled_for timestamp with time zone NOT NULL,
    through uuid DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid NOT NULL,
    newest boolean NOT NULL,
    cursor uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    runs integer DEFAULT 0 NOT NULL,
    skips integer DEFAULT 0 NOT NULL,
    missed integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    held boolean DEFAULT false NOT NULL
);

CREATE TABLE foxtrot.timetables (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    crons text[] NOT NULL,
    zone text NOT NULL,
    next_slot timestamp with time zone NOT NULL,
    tzdata text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT timetables_crons_check CHECK (((cardinality(crons) >= 1) AND (cardinality(crons) <= 10)))
);

CREATE TABLE foxtrot.users (
    id uuid NOT NULL,
    bucket smallint NOT NULL,
    org_id text,
    email text,
    zone text,
    role text DEFAULT 'user'::text NOT NULL,
    last_seen_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_bucket_check CHECK (((bucket >= 0) AND (bucket <= 63))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text])))
);

CREATE TABLE foxtrot.workers (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    kinds text[] NOT NULL,
    slots integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    lease_expires_at timestamp with time zone NOT NULL,
    stopping boolean DEFAULT false NOT NULL,
    CONSTRAINT workers_slots_check CHECK ((slots > 0))
);

ALTER TABLE ONLY foxtrot.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY foxtrot.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY foxtrot.fetch_sources
    ADD CONSTRAINT fetch_sources_pkey PRIMARY KEY (source);

ALTER TABLE ONLY foxtrot.fetch_units
    ADD CONSTRAINT fetch_units_pkey PRIMARY KEY (source, board);

ALTER TABLE ONLY foxtrot.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY foxtrot.pauses
    ADD CONSTRAINT pauses_pkey PRIMARY KEY (schedule_id, since, bucket);

ALTER TABLE ONLY foxtrot.postings
    ADD CONSTRAINT postings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY foxtrot.postings
    ADD CONSTRAINT postings_source_board_external_id_key UNIQUE (source, board, external_id);

ALTER TABLE ONLY foxtrot.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (run_id, bucket);

ALTER TABLE ONLY foxtrot.rates
    ADD CONSTRAINT rates_pkey PRIMARY KEY (provider);

ALTER TABLE ONLY foxtrot.run_steps
    ADD CONSTRAINT run_steps_pkey PRIMARY KEY (run_id, name, bucket);

ALTER TABLE ONLY foxtrot.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id, bucket);

ALTER TABLE ONLY foxtrot.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (id, bucket);

ALTER TABLE ONLY foxtrot.schedules
    ADD CONSTRAINT schedules_user_id_key_bucket_key UNIQUE (user_id, key, bucket);

ALTER TABLE ONLY foxtrot.skips
    ADD CONSTRAINT skips_pkey PRIMARY KEY (schedule_id, scheduled_for, bucket);

ALTER TABLE ONLY foxtrot.ticks
    ADD CONSTRAINT ticks_pkey PRIMARY KEY (timetable_id, scheduled_for, through);

ALTER TABLE ONLY foxtrot.timetables
    ADD CONSTRAINT timetables_crons_zone_key UNIQUE (crons, zone);

ALTER TABLE ONLY foxtrot.timetables
    ADD CONSTRAINT timetables_pkey PRIMARY KEY (id);

ALTER TABLE ONLY foxtrot.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id, bucket);

ALTER TABLE ONLY foxtrot.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX pauses_open ON foxtrot.pauses USING btree (schedule_id, bucket) WHERE (until IS NULL);

CREATE INDEX postings_heading ON foxtrot.postings USING gin (heading) WHERE (closed_at IS NULL);

CREATE INDEX postings_open ON foxtrot.postings USING btree (source, board) WHERE (closed_at IS NULL);

CREATE INDEX postings_search ON foxtrot.postings USING gin (search) WHERE (closed_at IS NULL);

CREATE INDEX postings_twins ON foxtrot.postings USING btree (twin_key) WHERE (closed_at IS NULL);

CREATE INDEX queue_claim ON foxtrot.queue USING btree (lane, kind, available_at, run_id) WHERE (worker_id IS NULL);

CREATE INDEX queue_held ON foxtrot.queue USING btree (worker_id) WHERE (worker_id IS NOT NULL);

CREATE UNIQUE INDEX queue_live ON foxtrot.queue USING btree (user_id, fingerprint, bucket);

CREATE INDEX runs_by_user ON ONLY foxtrot.runs USING btree (user_id, id DESC);

CREATE INDEX schedules_expandable ON foxtrot.schedules USING btree (timetable_id, id) WHERE (enabled AND (NOT dormant));

CREATE INDEX skips_by_cover ON foxtrot.skips USING btree (run_id) WHERE (run_id IS NOT NULL);

CREATE INDEX ticks_open ON foxtrot.ticks USING btree (held, scheduled_for, timetable_id, through) WHERE (finished_at IS NULL);

CREATE INDEX timetables_due ON foxtrot.timetables USING btree (next_slot);

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON foxtrot.audit_log FOR EACH STATEMENT EXECUTE FUNCTION foxtrot.refuse_change();

ALTER TABLE ONLY foxtrot.pauses
    ADD CONSTRAINT pauses_schedule_id_bucket_fkey FOREIGN KEY (schedule_id, bucket) REFERENCES foxtrot.schedules(id, bucket) ON DELETE CASCADE;

ALTER TABLE ONLY foxtrot.schedules
    ADD CONSTRAINT schedules_timetable_id_fkey FOREIGN KEY (timetable_id) REFERENCES foxtrot.timetables(id);

ALTER TABLE ONLY foxtrot.schedules
    ADD CONSTRAINT schedules_user_id_bucket_fkey FOREIGN KEY (user_id, bucket) REFERENCES foxtrot.users(id, bucket) ON DELETE CASCADE;

ALTER TABLE ONLY foxtrot.ticks
    ADD CONSTRAINT ticks_timetable_id_fkey FOREIGN KEY (timetable_id) REFERENCES foxtrot.timetables(id) ON DELETE CASCADE;

CREATE POLICY own ON foxtrot.pauses TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.queue TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.run_steps TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.runs TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.schedules TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.skips TO foxtrot_api USING ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((user_id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

CREATE POLICY own ON foxtrot.users TO foxtrot_api USING ((id = ( SELECT foxtrot.current_user_id() AS current_user_id))) WITH CHECK ((id = ( SELECT foxtrot.current_user_id() AS current_user_id)));

ALTER TABLE foxtrot.pauses ENABLE ROW LEVEL SECURITY;

ALTER TABLE foxtrot.queue ENABLE ROW LEVEL SECURITY;

ALTER TABLE foxtrot.run_steps ENABLE ROW LEVEL SECURITY;

ALTER TABLE foxtrot.runs ENABLE ROW LEVEL SECURITY;

ALTER TABLE foxtrot.schedules ENABLE ROW LEVEL SECURITY;

CREATE POLICY service ON foxtrot.pauses TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.queue TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.run_steps TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.runs TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.schedules TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.skips TO foxtrot_service USING (true) WITH CHECK (true);

CREATE POLICY service ON foxtrot.users TO foxtrot_service USING (true) WITH CHECK (true);

ALTER TABLE foxtrot.skips ENABLE ROW LEVEL SECURITY;

ALTER TABLE foxtrot.users ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA foxtrot TO foxtrot_service;
GRANT USAGE ON SCHEMA foxtrot TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.alembic_version TO foxtrot_service;

GRANT SELECT,INSERT ON TABLE foxtrot.audit_log TO foxtrot_service;
GRANT INSERT ON TABLE foxtrot.audit_log TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.fetch_sources TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.fetch_sources TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.fetch_units TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.fetch_units TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.models TO foxtrot_service;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.pauses TO foxtrot_service;
GRANT SELECT,INSERT,UPDATE ON TABLE foxtrot.pauses TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.postings TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.postings TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.queue TO foxtrot_service;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.queue TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.rates TO foxtrot_service;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.runs TO foxtrot_service;
GRANT SELECT,INSERT,UPDATE ON TABLE foxtrot.runs TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.run_status TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.run_status TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.run_steps TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.run_steps TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.schedules TO foxtrot_service;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.schedules TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.skips TO foxtrot_service;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.skips TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.ticks TO foxtrot_service;
GRANT SELECT,INSERT ON TABLE foxtrot.ticks TO foxtrot_api;

GRANT UPDATE(created_at) ON TABLE foxtrot.ticks TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.timetables TO foxtrot_service;
GRANT SELECT,INSERT ON TABLE foxtrot.timetables TO foxtrot_api;

GRANT UPDATE(created_at) ON TABLE foxtrot.timetables TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.users TO foxtrot_service;
GRANT SELECT,INSERT,UPDATE ON TABLE foxtrot.users TO foxtrot_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE foxtrot.workers TO foxtrot_service;
GRANT SELECT ON TABLE foxtrot.workers TO foxtrot_api;
