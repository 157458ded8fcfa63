"""One board is asked once for everybody: leases, what storing does, and what a failure leaves behind."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from kinds.job_search import board_faults as faults
from kinds.job_search.board_server import BoardServer
from kinds.job_search.fetching import (
    STORE_SECONDS,
    Standing,
    freshen,
    freshen_once,
    lease_unit,
    read_units,
    release_unit,
    store,
)
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import Fetched
from kinds.job_search.sources.errors import ThrottledError, UnavailableError, UnknownBoardError
from kinds.job_search.units import Unit
from tests.clock import Clock
from tests.kinds.job_search.support import ACME, Ports, make_handle, make_posting, put, rows, with_connection
from tests.support import connect, wait_for_lock

MORNING = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)
SETTINGS = JobSearchSettings()
LEASE = timedelta(seconds=SETTINGS.job_fetch_seconds + STORE_SECONDS)
OTTERLINE = Unit("greenhouse", "otterline")
TEN_MINUTES = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


async def standing_of(url: str, unit: Unit = ACME) -> Standing:
    async with connect(url) as conn:
        return (await read_units(conn, [unit], SETTINGS))[0]


# Leases --------------------------------------------------------------------------------------------------------------


def test_units_stand_in_the_order_asked_and_an_unknown_one_is_due(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> list[Standing]:
        await put(conn, make_posting())
        return await read_units(conn, [Unit("greenhouse", "zeta"), ACME, Unit("greenhouse", "beta")], SETTINGS)

    zeta, acme, beta = with_connection(database_url, work)
    assert [unit.board for unit in (zeta, acme, beta)] == ["zeta", "acme", "beta"]
    assert [unit.state for unit in (zeta, acme, beta)] == ["due", "fresh", "due"]
    assert [unit.generation for unit in (zeta, acme, beta)] == [0, 1, 0]


def test_of_two_workers_one_gets_the_lease(database_url: str) -> None:
    async def race(*, first_commits: bool) -> float | None:
        async with connect(database_url) as first, connect(database_url) as second:
            assert await lease_unit(first, ACME, uuid4(), SETTINGS) is not None
            waiting = asyncio.create_task(lease_unit(second, ACME, uuid4(), SETTINGS))
            await wait_for_lock(database_url, second.info.backend_pid)
            await (first.commit() if first_commits else first.rollback())
            return await waiting

    assert asyncio.run(race(first_commits=False)) == 0
    with_connection(database_url, lambda conn: conn.execute("delete from foxtrot.fetch_units"))
    assert asyncio.run(race(first_commits=True)) is None


def test_nobody_leases_a_unit_that_was_fetched_while_they_looked(database_url: str) -> None:
    async def race() -> float | None:
        async with connect(database_url) as winner, connect(database_url) as late:
            await put(winner, make_posting())
            waiting = asyncio.create_task(lease_unit(late, ACME, uuid4(), SETTINGS))
            await wait_for_lock(database_url, late.info.backend_pid)
            await winner.commit()
            return await waiting

    assert asyncio.run(race()) is None


def test_a_copy_is_good_for_its_freshness_time(clock: Clock) -> None:
    clock.freeze(MORNING)
    with_connection(clock.url, lambda conn: put(conn, make_posting()))
    clock.advance(TEN_MINUTES - SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "fresh"
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS)) is None
    clock.advance(SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "due"
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS)) is not None


def test_a_dead_workers_lease_is_taken_over_and_what_it_still_brings_is_refused(clock: Clock) -> None:
    clock.freeze(MORNING)
    dead, heir = uuid4(), uuid4()
    stale, good = Fetched((make_posting("old"),), complete=True), Fetched((make_posting("new"),), complete=True)

    async def take_over(conn: AsyncConnection) -> None:
        assert await lease_unit(conn, ACME, heir, SETTINGS) is None
        clock.advance(LEASE)
        await conn.commit()
        assert (await read_units(conn, [ACME], SETTINGS))[0].state == "due"
        assert await lease_unit(conn, ACME, heir, SETTINGS) is not None
        assert await store(conn, ACME, dead, stale) is None
        await release_unit(conn, ACME, dead, UnavailableError("too late"))
        stored = await store(conn, ACME, heir, good)
        assert stored is not None
        assert stored.generation == 1
        assert await store(conn, ACME, dead, stale) is None
        assert await rows(conn, "select external_id from foxtrot.postings") == [("new",)]

    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, dead, SETTINGS)) is not None
    clock.advance(LEASE - SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "taken"
    clock.advance(-SECOND)
    with_connection(clock.url, take_over)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ThrottledError("asked too often", retry_after=7), 7),
        (UnavailableError("out of order"), 10),
        (UnknownBoardError("does not exist"), 600),
    ],
)
def test_a_unit_rests_after_an_error_and_keeps_its_copy(
    clock: Clock, error: ThrottledError | UnavailableError | UnknownBoardError, seconds: int
) -> None:
    clock.freeze(MORNING)
    owner = uuid4()
    with_connection(clock.url, lambda conn: put(conn, make_posting()))
    clock.advance(TEN_MINUTES)
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, owner, SETTINGS)) is not None
    with_connection(clock.url, lambda conn: release_unit(conn, ACME, owner, error))
    clock.advance(timedelta(seconds=seconds) - SECOND)
    standing = asyncio.run(standing_of(clock.url))
    assert (standing.state, standing.error, standing.error_can_pass) == ("resting", error.message, error.retry)
    assert (standing.fetched_at, standing.rest_seconds) == (MORNING, 1)
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS)) is None
    clock.advance(SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "due"
    stored = with_connection(clock.url, lambda conn: put(conn, make_posting()))
    assert stored.generation == 2
    left = "select error, rests_until, leased_by from foxtrot.fetch_units"
    assert with_connection(clock.url, lambda conn: rows(conn, left)) == [(None, None, None)]


# Asking --------------------------------------------------------------------------------------------------------------


class Gate:
    """Holds a board's answer until the test opens it, and says when a request has arrived."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.open = threading.Event()

    def __call__(self, request: Any, body: bytes) -> None:
        self.arrived.set()
        self.open.wait(10)
        faults.send(request, body)


async def with_worker(url: str, work: Callable[[Ports], Awaitable[Any]]) -> Any:
    async with httpx.AsyncClient() as http:
        return await work(Ports(url, http))


def test_two_workers_ask_a_board_once(database_url: str, server: BoardServer) -> None:
    settings = JobSearchSettings()
    gate = server.faults["otterline"] = Gate()

    async def race(ports: Ports) -> tuple[Standing, Standing]:
        winner = asyncio.create_task(freshen(make_handle(ports), OTTERLINE, settings))
        await asyncio.to_thread(gate.arrived.wait, 10)
        assert (await freshen_once(make_handle(ports), OTTERLINE, settings)).state == "taken"
        loser = asyncio.create_task(freshen(make_handle(ports), OTTERLINE, settings))
        gate.open.set()
        return await winner, await loser

    winner, loser = asyncio.run(with_worker(database_url, race))
    assert server.requests == {"otterline": 1}
    assert (winner.state, winner.asked, winner.generation) == ("fresh", True, 1)
    assert loser == replace(winner, asked=False)


def test_no_transaction_is_open_while_a_board_is_asked(database_url: str, server: BoardServer) -> None:
    gate = server.faults["otterline"] = Gate()
    busy = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    async def look(ports: Ports) -> int:
        asking = asyncio.create_task(freshen(make_handle(ports), OTTERLINE, JobSearchSettings()))
        await asyncio.to_thread(gate.arrived.wait, 10)
        async with connect(database_url) as conn:
            ((connections,),) = await rows(conn, busy)
        gate.open.set()
        await asking
        return int(connections)

    assert asyncio.run(with_worker(database_url, look)) == 0


def test_a_loser_waits_only_so_long(database_url: str, server: BoardServer) -> None:
    settings = JobSearchSettings(job_fetch_seconds=0.1)

    async def wait(ports: Ports) -> Standing:
        async with connect(database_url) as conn:
            assert await lease_unit(conn, OTTERLINE, uuid4(), settings) is not None
        return await freshen(make_handle(ports), OTTERLINE, settings)

    assert asyncio.run(with_worker(database_url, wait)).state == "taken"
    assert server.requests == {}


def test_a_worker_that_is_cancelled_frees_the_board(database_url: str, server: BoardServer) -> None:
    gate = server.faults["otterline"] = Gate()

    async def cancel(ports: Ports) -> Standing:
        asking = asyncio.create_task(freshen(make_handle(ports), OTTERLINE, JobSearchSettings()))
        await asyncio.to_thread(gate.arrived.wait, 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.open.set()
        return await standing_of(database_url, OTTERLINE)

    standing = asyncio.run(with_worker(database_url, cancel))
    assert (standing.state, standing.error) == ("due", None)


def test_a_failed_board_is_not_asked_again_while_it_rests(database_url: str, server: BoardServer) -> None:
    server.faults["otterline"] = faults.throttled("7")

    async def twice(ports: Ports) -> list[Standing]:
        return [await freshen(make_handle(ports), OTTERLINE, JobSearchSettings()) for _ in range(2)]

    first, second = asyncio.run(with_worker(database_url, twice))
    assert server.requests == {"otterline": 1}
    assert not first.asked
    assert (second.state, second.fetched_at) == ("resting", None)
    assert "asked too often" in (second.error or "")
    assert 5 < second.rest_seconds <= 7
