import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from cli.postgres import EmbeddedPostgres
from shared.cron import tzdata_version
from shared.db import Timeouts, in_transaction, open_pool, transaction
from shared.tokens import issue_token
from shared.wake import Channel
from tests.faults.handlers import ORDER
from tests.faults.pgbouncer import pgbouncer
from tests.faults.proxy import Proxy
from tests.faults.support import System, system
from tests.support import db_now, make_schedule, make_timetable, make_user, wait_until

SECRET = "a secret of these tests, and long enough for HS256"
LISTENS = "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
LIMITS = "select current_setting('statement_timeout'), current_setting('lock_timeout')"
DUE = "select id from foxtrot.run_status where source = 'cron' and status = 'success'"


@pytest.fixture
def at_rest(database_url: str, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[System]:
    """A system in which nothing runs yet, in real time."""
    with system(database_url, postgres.url, tmp_path) as made:
        yield made


@contextmanager
def client(system: System, **settings: Any) -> Iterator[httpx.Client]:
    """A client of an API process; worker and scheduler run beside it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    system.start(worker_poll_interval_seconds=0.2, **settings)
    system.launch("cli", "scheduler", scheduler_interval_seconds=0.2, **settings)
    system.launch("cli", "api", port=port, jwt_secret=SECRET, **settings)
    wait_until(lambda: all(process.has_started() for process in system.workers), within=30)
    token = issue_token(SECRET, str(uuid4()))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers) as made:
        yield made


def fall_due(system: System) -> None:
    """Let a slot of a schedule come due."""

    async def make(conn: psycopg.AsyncConnection) -> None:
        now = await db_now(conn)
        slot = now - timedelta(minutes=now.minute % 5, seconds=now.second, microseconds=now.microsecond)
        timetable = await make_timetable(conn, crons=["*/5 * * * *"], next_slot=slot, tzdata=tzdata_version())
        await make_schedule(conn, await make_user(conn), timetable, kind=ORDER.name)

    system.transact(make)


def use_everything(system: System, api: httpx.Client) -> None:
    """Run now, a slot, and a cancel of what runs: each does what it is there for."""
    done = api.post("/runs", json={"kind": ORDER.name, "parameters": {}}).raise_for_status().json()["id"]
    held = api.post("/runs", json={"kind": ORDER.name, "parameters": {"gate": "open"}}).raise_for_status().json()["id"]
    fall_due(system)
    wait_until(lambda: api.get(f"/runs/{done}").json()["status"] == "success")
    wait_until(lambda: api.get(f"/runs/{held}").json()["status"] == "running")
    assert api.post(f"/runs/{held}/cancel").raise_for_status().json()["status"] == "cancelled"
    wait_until(lambda: system.rows(DUE))
    wait_until(lambda: system.workers[0].events("attempt_dropped"))


def test_without_notifications_nobody_listens_or_notifies_and_everything_works(at_rest: System) -> None:
    with psycopg.connect(at_rest.url, autocommit=True) as ear:
        for channel in Channel:
            ear.execute(f'listen "{channel}"')
        with client(at_rest, foxtrot_notify="off") as api:
            use_everything(at_rest, api)
            assert at_rest.one(LISTENS) == 1, "there are ears beside the test's own"
        at_rest.settled()
        assert list(ear.notifies(timeout=0)) == []


def test_everything_works_through_pgbouncer_in_transaction_mode(at_rest: System, tmp_path: Path) -> None:
    with Proxy(at_rest.url) as proxy, pgbouncer(proxy.url, tmp_path) as url:
        at_rest.reached_at = url
        with client(at_rest) as api:
            use_everything(at_rest, api)
        at_rest.settled()
    for process in at_rest.workers:
        assert len(process.events("options_refused")) == 1
        assert not process.events("claim_failed") + process.events("turn_failed") + process.events("renew_failed")


def test_pgbouncer_gets_timeouts_with_each_transaction_and_keeps_none(database_url: str, tmp_path: Path) -> None:
    async def limits(conn: psycopg.AsyncConnection) -> object:
        return await (await conn.execute(LIMITS)).fetchone()

    async def main(url: str) -> tuple[object, object]:
        async with open_pool(url, "test", size=1, timeouts=Timeouts(statement=7, lock=2)) as pool:
            assert await in_transaction(pool, limits) == ("7s", "2s")
            async with transaction(pool) as conn:
                ours = await limits(conn)
            async with await psycopg.AsyncConnection.connect(url) as conn:
                return ours, await limits(conn)

    with Proxy(database_url) as proxy, pgbouncer(proxy.url, tmp_path) as url:
        ours, others = asyncio.run(main(url))
    assert ours == ("7s", "2s")
    assert others == ("0", "0")


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
def test_nothing_is_prepared_behind_pgbouncer(database_url: str, tmp_path: Path, more: str) -> None:
    async def main(url: str) -> object:
        async with open_pool(url, "test", size=1) as pool, pool.connection() as conn:
            await conn.execute("select 1", prepare=True)
            return await (await conn.execute("select count(*) from pg_prepared_statements")).fetchone()

    with Proxy(database_url) as proxy, pgbouncer(proxy.url, tmp_path, more) as url:
        assert asyncio.run(main(url)) == (0,)
