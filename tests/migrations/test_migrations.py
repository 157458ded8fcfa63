import asyncio
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import AsyncConnection, sql
from psycopg.rows import AsyncRowFactory, class_row, dict_row
from sqlalchemy import Column, ForeignKeyConstraint, Index, MetaData, Text, UniqueConstraint, inspect

import migrations
from cli.postgres import EmbeddedPostgres
from migrations import snapshot
from shared.errors import DatabaseError
from shared.kinds import Lane, Status
from shared.models import (
    AuditEntry,
    FetchSource,
    FetchUnit,
    Model,
    Pause,
    PostingRow,
    Rate,
    RunStatus,
    RunStep,
    Skip,
    Table,
)
from tests.clock import Clock
from tests.support import (
    connect,
    database,
    insert,
    make_run,
    make_schedule,
    make_tick,
    make_timetable,
    make_user,
)

T = TypeVar("T")

REVISIONS = [
    "0001_initial",
    "0002_job_search",
    "0003_sources",
    "0004_schedules",
    "0005_worker",
    "0006_runs_fill",
    "0007_models",
]
WEEKS = """
select array_agg(relname::text order by relname) from pg_inherits join pg_class on oid = inhrelid
where inhparent = 'foxtrot.runs'::regclass
"""
TABLES: list[type[Table]] = Table.__subclasses__()


def fetch(url: str, query: str) -> Any:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def expected_weeks(url: str) -> list[str]:
    monday = fetch(url, "select date_trunc('week', now() at time zone 'UTC')")
    return [f"runs_{monday + timedelta(weeks=n):%Y%m%d}" for n in range(-1, 9)]


def test_upgrade_applies_each_revision_once(empty_database_url: str) -> None:
    assert migrations.pending(empty_database_url) == REVISIONS
    assert migrations.upgrade(empty_database_url) == REVISIONS
    assert migrations.pending(empty_database_url) == []
    assert migrations.upgrade(empty_database_url) == []


def test_upgrade_makes_weeks_from_the_previous_to_eight_ahead(database_url: str) -> None:
    assert fetch(database_url, WEEKS) == expected_weeks(database_url)


def test_upgrade_makes_the_weeks_that_came_since(clock: Clock) -> None:
    before = fetch(clock.url, WEEKS)
    clock.advance(timedelta(weeks=3))
    assert migrations.upgrade(clock.url) == []
    assert fetch(clock.url, WEEKS) == before[:3] + expected_weeks(clock.url)


def test_two_deploys_at_once_apply_each_revision_once(empty_database_url: str) -> None:
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(empty_database_url) as first, ThreadPoolExecutor(2) as pool:
        first.execute(migrations.LOCK)
        deploys = [pool.submit(migrations.upgrade, empty_database_url) for _ in range(2)]
        while fetch(empty_database_url, waiting) < 2 and not any(deploy.done() for deploy in deploys):
            pass
        first.commit()
        assert sorted(deploy.result() for deploy in deploys) == [[], REVISIONS]


def test_what_a_newer_release_applied_is_nothing_pending(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("update foxtrot.alembic_version set version_num = '9999_newer'")
    assert migrations.pending(database_url) == []
    assert migrations.upgrade(database_url) == []


def test_script_makes_the_same_as_upgrade(
    empty_database_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute(migrations.script().encode())
    assert migrations.pending(empty_database_url) == []
    assert fetch(empty_database_url, WEEKS) == fetch(database_url, WEEKS)
    assert differences(empty_database_url, Table.metadata) == []


OLD_POSTING = """
insert into foxtrot.postings (
    source, board, external_id, url, title, company, departments, places, places_key, text, content_hash,
    first_seen_at, last_seen_at, opened_generation
) values ('greenhouse', 'acme', '1', 'https://acme.example/1', 'Baker', 'Acme', '{}', '{}', '', '', '', now(), now(), 1)
"""


def test_postings_of_an_older_release_are_kept_and_found(empty_database_url: str) -> None:
    until, _, _ = migrations.script().partition("-- Running upgrade 0002_job_search ->")
    found = (
        "select twin_key is null and tags = '{}' from foxtrot.postings where search @@ to_tsquery('english', 'bakers')"
    )
    with psycopg.connect(empty_database_url) as conn:
        conn.execute(until.encode())
        conn.execute(OLD_POSTING.encode())
    assert migrations.upgrade(empty_database_url) == REVISIONS[2:]
    assert fetch(empty_database_url, found) is True
    assert fetch(empty_database_url, "select count(*) from foxtrot.fetch_sources") == 0


# What can go wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:secret@127.0.0.1:1/app", "127.0.0.1:1/app"),
        ("postgres://me:secret@127.0.0.1:1/app", "127.0.0.1:1/app"),
        ("postgresql://me:secret@/app?host=/nowhere", "/nowhere"),
        ("postgresql://me:secret@[::1/app", "DATABASE_URL is not a URL"),
        ("postgresql://me:secret@127.0.0.1/app?secret=1", "DATABASE_URL is not a URL"),
    ],
)
def test_no_connection_is_told_in_one_line_without_the_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=re.escape(words)) as caught:
        migrations.upgrade(url)
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@contextmanager
def old_server() -> Iterator[str]:
    """A server that lets everybody in and says that it is Postgres 14.9."""
    greeting = message(b"R", bytes(4)) + message(b"S", b"server_version\x0014.9\x00") + message(b"Z", b"I")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            conn, _ = listener.accept()
            with conn:
                conn.recv(1024)
                conn.sendall(greeting)
                conn.recv(1024)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/app?sslmode=disable&gssencmode=disable"
        thread.join()


def test_an_old_postgres_is_refused_by_its_version() -> None:
    with old_server() as url, pytest.raises(DatabaseError, match=r"Postgres 14\.9 .* too old") as caught:
        migrations.upgrade(url)
    assert caught.value.hint == "Foxtrot needs Postgres 15 or later."


@pytest.fixture
def login(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A role that can log in and may do nothing else."""
    name = "test_login"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"create role {name} login")
        yield name
        admin.execute(f"drop role {name}")


@pytest.mark.parametrize("grant", ["grant connect on database {} to {}", "grant create on database {} to {}"])
def test_a_refused_right_names_the_grants(postgres: EmbeddedPostgres, login: str, grant: str) -> None:
    with database(postgres.url) as url:
        name = fetch(url, "select current_database()")
        with psycopg.connect(url) as admin:
            admin.execute(grant.format(name, login).encode())
        with pytest.raises(DatabaseError, match=f"migrating {name} as {login} failed") as caught:
            migrations.upgrade(psycopg.conninfo.make_conninfo(url, user=login))
        assert migrations.pending(url) == REVISIONS
    assert f"GRANT CREATE ON DATABASE {name} TO {login}" in str(caught.value.hint)


def test_a_user_who_is_no_superuser_migrates_and_can_act_as_both_roles(postgres: EmbeddedPostgres) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedPostgres(Path(directory), binaries=postgres.binaries, settings=postgres.settings) as hosted,
    ):
        with psycopg.connect(hosted.url, autocommit=True) as admin:
            admin.execute("create role customer login createrole")
            admin.execute("create database app owner customer")
        url = psycopg.conninfo.make_conninfo(hosted.url, dbname="app", user="customer")
        assert migrations.upgrade(url) == REVISIONS
        with psycopg.connect(url) as conn:
            conn.execute("set local role foxtrot_api")
            conn.execute("set local role foxtrot_service")


def test_a_held_lock_is_named(clock: Clock) -> None:
    clock.advance(timedelta(weeks=3))
    with psycopg.connect(clock.url) as holder:
        holder.execute("set idle_in_transaction_session_timeout = '5s'")
        holder.execute("lock table foxtrot.runs")
        with pytest.raises(DatabaseError, match="lock timeout") as caught:
            migrations.upgrade(clock.url)
    assert "foxtrot.runs" in str(caught.value.hint)


# The models say what the tables are ----------------------------------------------------------------------------------


def differences(url: str, metadata: MetaData) -> list[Any]:
    def include(name: str | None, kind: str, _parent: Any) -> bool:
        if kind == "schema":
            return name == "foxtrot"
        return kind != "table" or not re.fullmatch(r"runs_\d{8}|alembic_version", str(name))

    options = {"compare_type": True, "include_schemas": True, "include_name": include}
    with migrations.connect(url) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def copy_of_metadata() -> MetaData:
    copy = MetaData()
    for table in Table.metadata.tables.values():
        table.to_metadata(copy)
    return copy


def test_models_are_the_tables(database_url: str) -> None:
    assert differences(database_url, Table.metadata) == []
    assert {table.name for table in Table.metadata.tables.values()} == {model.__tablename__ for model in TABLES}


def test_models_have_the_primary_keys(database_url: str) -> None:
    with migrations.connect(database_url) as connection:
        inspector = inspect(connection)
        for table in Table.metadata.tables.values():
            key = inspector.get_pk_constraint(table.name, schema="foxtrot")["constrained_columns"]
            assert (table.name, set(key)) == (table.name, set(table.primary_key.columns.keys()))


def test_each_kind_of_difference_is_seen(database_url: str) -> None:
    changed = copy_of_metadata()
    runs = changed.tables["foxtrot.runs"]
    runs.append_column(Column("one_more", Text))
    runs.c.attempt.type = Text()
    runs.c.headline.nullable = False
    Index("one_more_index", runs.c.kind)
    schedules = changed.tables["foxtrot.schedules"].constraints
    schedules -= {one for one in schedules if isinstance(one, ForeignKeyConstraint | UniqueConstraint)}
    changed.remove(changed.tables["foxtrot.ticks"])
    found = {change[0] if isinstance(change, tuple) else change[0][0] for change in differences(database_url, changed)}
    assert found == {
        *("add_column", "modify_type", "modify_nullable", "add_index"),
        *("remove_fk", "remove_constraint", "remove_table", "remove_index"),
    }


async def make_one_of_each(conn: AsyncConnection) -> None:
    user = await make_user(conn, zone="Europe/London")
    timetable = await make_timetable(conn)
    schedule = await make_schedule(conn, user, timetable)
    await make_tick(conn, timetable)
    run = await make_run(conn, user, "running", percent=40)
    of_user = {"user_id": user.id, "bucket": user.bucket}
    skip = {"schedule_id": schedule.id, "scheduled_for": timetable.next_slot, "reason": "overlap", "run_id": run.id}
    await insert(conn, Skip, of_user | skip)
    pause = {"schedule_id": schedule.id, "since": timetable.next_slot, "reason": "paused"}
    await insert(conn, Pause, of_user | pause)
    await insert(conn, RunStep, of_user | {"run_id": run.id, "name": "fetch", "attempt": 1, "value": {"pages": 3}})
    await insert(conn, AuditEntry, {"actor": "me", "action": "cancel", "detail": {"run": str(run.id)}})
    await insert(conn, Rate, {"provider": "somebody", "next_call_at": timetable.next_slot})
    await insert(conn, Model, {"kind": "demo", "digest": bytes(16)})
    await insert(conn, FetchSource, {"source": "here", "day": timetable.next_slot.date(), "calls": 3})
    await insert(conn, FetchUnit, {"source": "here", "board": "acme"})
    names = ("source", "board", "external_id", "url", "title", "company", "places_key", "text", "content_hash")
    seen = dict.fromkeys(("first_seen_at", "last_seen_at"), timetable.next_slot)
    lists = {"departments": [], "places": ["London"], "tags": ["night shift"], "opened_generation": 1}
    await insert(conn, PostingRow, dict.fromkeys(names, "word") | seen | lists)


async def read(conn: AsyncConnection, row_factory: AsyncRowFactory[T], name: str) -> T:
    async with conn.cursor(row_factory=row_factory) as cursor:
        await cursor.execute(sql.SQL("select * from foxtrot.{}").format(sql.Identifier(name)))
        row = await cursor.fetchone()
    assert row is not None
    return row


def test_every_row_loads_as_its_model_unchanged(database_url: str) -> None:
    async def scenario() -> None:
        async with connect(database_url) as conn:
            await make_one_of_each(conn)
            for model in TABLES:
                name = str(model.__tablename__)
                loaded = await read(conn, class_row(model), name)
                assert loaded.model_dump() == await read(conn, dict_row, name)

    asyncio.run(scenario())


def test_run_status_reads_every_column_of_the_view(database_url: str) -> None:
    async def scenario() -> None:
        async with connect(database_url) as conn:
            await make_run(conn, await make_user(conn), "running", percent=40)
            loaded = await read(conn, class_row(RunStatus), "run_status")
            assert loaded.model_dump() == await read(conn, dict_row, "run_status")
            assert (loaded.status, loaded.lane, loaded.percent) == (Status.RUNNING, Lane.MANUAL, 40)

    asyncio.run(scenario())


# The snapshot ---------------------------------------------------------------------------------------------------------


def test_snapshot_is_what_the_migrations_make(database_url: str) -> None:
    major = fetch(database_url, "show server_version_num")[:2]
    if int(major) != snapshot.MAJOR:
        pytest.skip(f"schema.sql is pg_dump's text of Postgres {snapshot.MAJOR}, this server is {major}")
    assert snapshot.dump(database_url) == snapshot.SNAPSHOT.read_text(encoding="utf-8"), "run `make schema`"
