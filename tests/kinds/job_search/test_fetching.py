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
from psycopg.errors import InsufficientPrivilege

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
from kinds.job_search.postings import Unit
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import Fetched
from kinds.job_search.sources.errors import ThrottledError, UnavailableError, UnknownBoardError
from tests.clock import Clock
from tests.kinds.job_search.support import ACME, Ports, make_handle, make_posting, put, with_connection
from tests.support import connect, wait_for_lock

MORNING = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)
SETTINGS = JobSearchSettings()
LEASE = timedelta(seconds=SETTINGS.job_fetch_seconds + STORE_SECONDS)
OTTERLINE = Unit("greenhouse", "otterline")
TEN_MINUTES = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


async def rows(conn: AsyncConnection, query: str) -> list[Any]:
    return await (await conn.execute(query)).fetchall()


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
    async def race(*, first_commits: bool) -> bool:
        async with connect(database_url) as first, connect(database_url) as second:
            assert await lease_unit(first, ACME, uuid4(), SETTINGS)
            waiting = asyncio.create_task(lease_unit(second, ACME, uuid4(), SETTINGS))
            await wait_for_lock(database_url, second.info.backend_pid)
            await (first.commit() if first_commits else first.rollback())
            return await waiting

    assert asyncio.run(race(first_commits=False))
    with_connection(database_url, lambda conn: conn.execute("delete from foxtrot.fetch_units"))
    assert not asyncio.run(race(first_commits=True))


def test_nobody_leases_a_unit_that_was_fetched_while_they_looked(database_url: str) -> None:
    async def race() -> bool:
        async with connect(database_url) as winner, connect(database_url) as late:
            await put(winner, make_posting())
            waiting = asyncio.create_task(lease_unit(late, ACME, uuid4(), SETTINGS))
            await wait_for_lock(database_url, late.info.backend_pid)
            await winner.commit()
            return await waiting

    assert not asyncio.run(race())


def test_a_copy_is_good_for_its_freshness_time(clock: Clock) -> None:
    clock.freeze(MORNING)
    with_connection(clock.url, lambda conn: put(conn, make_posting()))
    clock.advance(TEN_MINUTES - SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "fresh"
    assert not with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS))
    clock.advance(SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "due"
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS))


def test_a_dead_workers_lease_is_taken_over_and_what_it_still_brings_is_refused(clock: Clock) -> None:
    clock.freeze(MORNING)
    dead, heir = uuid4(), uuid4()
    stale, good = Fetched((make_posting("old"),), complete=True), Fetched((make_posting("new"),), complete=True)

    async def take_over(conn: AsyncConnection) -> None:
        assert not await lease_unit(conn, ACME, heir, SETTINGS)
        clock.advance(LEASE)
        await conn.commit()
        assert (await read_units(conn, [ACME], SETTINGS))[0].state == "due"
        assert await lease_unit(conn, ACME, heir, SETTINGS)
        assert await store(conn, ACME, dead, stale) is None
        await release_unit(conn, ACME, dead, UnavailableError("too late"))
        stored = await store(conn, ACME, heir, good)
        assert stored is not None
        assert stored.generation == 1
        assert await store(conn, ACME, dead, stale) is None
        assert await rows(conn, "select external_id from foxtrot.postings") == [("new",)]

    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, dead, SETTINGS))
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
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, owner, SETTINGS))
    with_connection(clock.url, lambda conn: release_unit(conn, ACME, owner, error))
    clock.advance(timedelta(seconds=seconds) - SECOND)
    standing = asyncio.run(standing_of(clock.url))
    assert (standing.state, standing.error, standing.error_can_pass) == ("resting", error.message, error.retry)
    assert (standing.fetched_at, standing.rest_seconds) == (MORNING, 1)
    assert not with_connection(clock.url, lambda conn: lease_unit(conn, ACME, uuid4(), SETTINGS))
    clock.advance(SECOND)
    assert asyncio.run(standing_of(clock.url)).state == "due"
    stored = with_connection(clock.url, lambda conn: put(conn, make_posting()))
    assert stored.generation == 2
    assert asyncio.run(standing_of(clock.url)).error is None


# Storing -------------------------------------------------------------------------------------------------------------


def test_the_same_answer_again_writes_no_posting(clock: Clock) -> None:
    clock.freeze(MORNING)
    listed = [make_posting(str(number), text="words " * 500) for number in range(20)]
    versions = "select external_id, ctid, xmin, xmax from foxtrot.postings order by 1"

    async def twice(conn: AsyncConnection) -> None:
        first = await put(conn, *listed)
        await conn.commit()
        before = await rows(conn, versions)
        again = await put(conn, *reversed(listed))
        await conn.commit()
        assert (first.written, first.opened, first.closed) == (20, 20, 0)
        assert (again.generation, again.written, again.opened, again.closed) == (2, 0, 0, 0)
        assert await rows(conn, versions) == before

    with_connection(clock.url, twice)


def test_only_what_changed_is_written_and_a_change_opens_nothing(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        before = make_posting("1", title="Baker"), make_posting("2", title="Miller")
        await put(conn, *before)
        stored = await put(conn, replace(before[0], title="Head Baker", remote=True, places=("Oslo",)), before[1])
        assert (stored.written, stored.opened, stored.closed) == (1, 0, 0)
        found = await rows(
            conn, "select title, remote, places, places_key, opened_generation from foxtrot.postings order by 1"
        )
        assert found == [("Head Baker", True, ["Oslo"], "oslo", 1), ("Miller", None, [], "", 1)]

    with_connection(database_url, work)


def test_last_seen_is_kept_to_the_day(clock: Clock) -> None:
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> int:
        stored = await put(conn, make_posting())
        await conn.commit()
        return stored.written

    assert with_connection(clock.url, work) == 1
    clock.advance(timedelta(hours=23))
    assert with_connection(clock.url, work) == 0
    clock.advance(timedelta(hours=1))
    assert with_connection(clock.url, work) == 1
    seen = with_connection(
        clock.url,
        lambda conn: rows(conn, "select first_seen_at, last_seen_at, opened_generation from foxtrot.postings"),
    )
    assert seen == [(MORNING, MORNING + timedelta(days=1), 1)]


def test_a_posting_closes_only_when_a_complete_answer_lacks_it(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        one, two = make_posting("1"), make_posting("2")
        other = Unit("greenhouse", "other")
        await put(conn, one, two)
        await put(conn, make_posting("1", other), unit=other)
        assert (await put(conn, one, complete=False)).closed == 0
        assert (await put(conn, one)).closed == 1
        assert (await put(conn, one)).closed == 0
        still_open = "select board, external_id from foxtrot.postings where closed_at is null order by 1"
        assert await rows(conn, still_open) == [("acme", "1"), ("other", "1")]
        assert (await put(conn)).closed == 1
        assert await rows(conn, still_open) == [("other", "1")]

    with_connection(database_url, work)


def test_what_is_listed_again_opens_again_under_its_old_id(clock: Clock) -> None:
    clock.freeze(MORNING)
    posting = make_posting("1")
    read = "select id, first_seen_at, closed_at, opened_generation from foxtrot.postings"

    async def work(conn: AsyncConnection) -> None:
        await put(conn, posting)
        ((id_, *_),) = await rows(conn, read)
        await put(conn)
        assert await rows(conn, read) == [(id_, MORNING, MORNING, 1)]
        stored = await put(conn, posting)
        assert (stored.generation, stored.opened) == (3, 1)
        assert await rows(conn, read) == [(id_, MORNING, None, 3)]

    with_connection(clock.url, work)


def test_text_that_fills_the_limits_can_be_stored(database_url: str) -> None:
    words = " ".join(f"wörd{number}x" for number in range(3000))[:30_000]
    places = tuple(f"Place {number} {'x' * 190}" for number in range(50))
    posting = make_posting(title="t" * 300, company="c" * 200, places=places, text=words)
    assert with_connection(database_url, lambda conn: put(conn, posting)).written == 1


@pytest.mark.parametrize("table", ["fetch_units", "postings"])
def test_the_api_reads_and_does_not_write(database_url: str, table: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting())
        await conn.execute("set local role foxtrot_api")
        assert len(await rows(conn, f"select from foxtrot.{table}")) == 1
        with pytest.raises(InsufficientPrivilege):
            await conn.execute(f"delete from foxtrot.{table}")
        await conn.rollback()

    with_connection(database_url, work)


def test_the_service_does_all_of_it(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await conn.execute("set local role foxtrot_service")
        await put(conn, make_posting("1"))
        assert (await put(conn, make_posting("2"))).closed == 1

    with_connection(database_url, work)


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
            assert await lease_unit(conn, OTTERLINE, uuid4(), settings)
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
