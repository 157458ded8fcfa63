"""One board is asked once for everybody: leases, what storing does, and what a failure leaves behind."""

import asyncio
import threading
import time
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
from kinds.job_search.sources import SOURCES, Fetched
from kinds.job_search.sources.errors import (
    RefusedError,
    SourceError,
    ThrottledError,
    UnavailableError,
    UnknownBoardError,
)
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
        (RefusedError("refuses to answer"), 900),
        (UnavailableError("out of order"), 10),
        (UnknownBoardError("does not exist"), 600),
    ],
)
def test_a_unit_rests_after_an_error_and_keeps_its_copy(clock: Clock, error: SourceError, seconds: int) -> None:
    clock.freeze(MORNING)
    owner = uuid4()
    with_connection(clock.url, lambda conn: put(conn, make_posting()))
    clock.advance(TEN_MINUTES)
    assert with_connection(clock.url, lambda conn: lease_unit(conn, ACME, owner, SETTINGS)) is not None
    with_connection(clock.url, lambda conn: release_unit(conn, ACME, owner, error))
    clock.advance(timedelta(seconds=seconds) - SECOND)
    standing = asyncio.run(standing_of(clock.url))
    can_pass = error.retry or isinstance(error, RefusedError)  # as its whole source's rest ends some time
    assert (standing.state, standing.error, standing.error_can_pass) == ("resting", error.message, can_pass)
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


# What all boards of a source share ------------------------------------------------------------------------------------

MIDNIGHT = datetime(2026, 8, 4, tzinfo=UTC)
CALLS = "select source, day, calls from foxtrot.fetch_sources order by source"
ALWAYS = JobSearchSettings(job_freshness_seconds=0)
LEVER = Unit("lever", "acme")


def limit(monkeypatch: pytest.MonkeyPatch, *, calls_a_day: int | None = None, gap: float = 0) -> None:
    """Let Greenhouse allow only so much."""
    few = replace(SOURCES["greenhouse"], calls_a_day=calls_a_day, gap=timedelta(seconds=gap))
    monkeypatch.setitem(SOURCES, "greenhouse", few)


def board(number: int) -> Unit:
    return Unit("greenhouse", f"board{number}")


async def ask(
    conn: AsyncConnection, unit: Unit, error: SourceError | None = None, settings: JobSearchSettings = SETTINGS
) -> float | None:
    """Lease the unit and end the lease; its turn, or None when it may not be asked."""
    owner = uuid4()
    turn = await lease_unit(conn, unit, owner, settings)
    if turn is not None:
        await release_unit(conn, unit, owner, error)
    await conn.commit()
    return turn


async def states(conn: AsyncConnection, *units: Unit, settings: JobSearchSettings = SETTINGS) -> list[str]:
    await conn.commit()
    return [standing.state for standing in await read_units(conn, units, settings)]


def test_a_days_calls_are_those_of_all_boards_of_a_source(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, calls_a_day=3)
    clock.freeze(MIDNIGHT - SECOND)
    units = board(1), board(3), LEVER

    async def work(conn: AsyncConnection) -> None:
        # Each time zone in which the date is already, or still, another one.
        await conn.execute("set time zone 'Pacific/Kiritimati'")
        assert [await ask(conn, board(number)) for number in (1, 2, 1, 2, 3)] == [0, 0, 0, None, None]
        assert await ask(conn, LEVER) == 0
        assert await states(conn, *units) == ["spent", "spent", "due"]
        clock.advance(SECOND)
        await conn.execute("set time zone 'Pacific/Honolulu'")
        assert await states(conn, *units) == ["due", "due", "due"]
        assert [await ask(conn, board(number)) for number in (1, 2, 3, 4)] == [0, 0, 0, None]
        day, before = MIDNIGHT.date(), (MIDNIGHT - SECOND).date()
        assert await rows(conn, CALLS) == [("greenhouse", day, 3), ("lever", before, 1)]

    with_connection(clock.url, work)


def test_calls_that_fail_count_and_those_that_were_not_made_do_not(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, calls_a_day=2)
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> None:
        assert await ask(conn, board(1), UnavailableError("out of order")) == 0
        assert [await ask(conn, board(1)) for _ in range(3)] == [None] * 3
        clock.advance(timedelta(seconds=10))
        assert await rows(conn, "select calls from foxtrot.fetch_sources") == [(1,)]
        await conn.commit()
        assert await ask(conn, board(1), UnavailableError("out of order")) == 0
        assert await ask(conn, board(2)) is None

    with_connection(clock.url, work)


def test_a_copy_that_is_good_is_fresh_though_nothing_more_may_be_asked(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, calls_a_day=1)
    clock.freeze(MORNING)
    with_connection(clock.url, lambda conn: put(conn, make_posting()))
    assert asyncio.run(standing_of(clock.url)).state == "fresh"
    clock.advance(TEN_MINUTES)
    standing = asyncio.run(standing_of(clock.url))
    assert (standing.state, standing.generation) == ("spent", 1)
    assert standing.why == "Greenhouse may be asked 1 times a day, and was; tomorrow (UTC) again"


@pytest.mark.parametrize("commits", [True, False])
def test_of_all_who_want_the_last_call_one_gets_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    limit(monkeypatch, calls_a_day=3)

    async def lease(number: int, entered: "asyncio.Queue[int]") -> float | None:
        async with connect(database_url) as conn:
            entered.put_nowait(conn.info.backend_pid)
            return await lease_unit(conn, board(number), uuid4(), SETTINGS)

    async def race() -> list[float | None]:
        entered: asyncio.Queue[int] = asyncio.Queue()
        async with connect(database_url) as first:
            assert [await ask(first, board(0)) for _ in range(2)] == [0, 0]
            assert await lease_unit(first, board(0), uuid4(), SETTINGS) == 0
            racing = [asyncio.create_task(lease(number, entered)) for number in range(1, 9)]
            for _ in racing:
                await wait_for_lock(database_url, await entered.get())
            await (first.commit() if commits else first.rollback())
            return await asyncio.gather(*racing)

    got = [turn for turn in asyncio.run(race()) if turn is not None]
    assert len(got) == (0 if commits else 1)
    calls = with_connection(database_url, lambda conn: rows(conn, "select calls from foxtrot.fetch_sources"))
    assert calls == [(3,)]


def test_boards_of_a_source_take_turns(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, gap=12.5)
    clock.freeze(MORNING)
    lease_ends = "select board, lease_expires_at from foxtrot.fetch_units where source = 'greenhouse' order by board"

    async def work(conn: AsyncConnection) -> None:
        turns = [await lease_unit(conn, board(number), uuid4(), SETTINGS) for number in range(4)]
        assert turns == [0, 12.5, 25, None], "the fourth would have to wait longer than a board may take to answer"
        assert await lease_unit(conn, LEVER, uuid4(), SETTINGS) == 0
        assert await rows(conn, lease_ends) == [
            (f"board{number}", MORNING + timedelta(seconds=12.5 * number) + LEASE) for number in range(3)
        ]
        assert await rows(conn, "select calls from foxtrot.fetch_sources where source = 'greenhouse'") == [(3,)]
        await conn.commit()
        clock.advance(timedelta(seconds=7.5))
        assert await lease_unit(conn, board(4), uuid4(), SETTINGS) == 30
        await conn.commit()
        clock.advance(timedelta(minutes=5))
        assert await lease_unit(conn, board(5), uuid4(), SETTINGS) == 0

    with_connection(clock.url, work)


def test_two_who_lease_at_once_get_turns_that_are_apart(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, gap=20)

    async def race() -> float | None:
        async with connect(database_url) as first, connect(database_url) as second:
            # Both transactions began, and so read the clock, before either had its turn.
            await second.execute("select now()")
            assert await lease_unit(first, board(1), uuid4(), SETTINGS) == 0
            waiting = asyncio.create_task(lease_unit(second, board(2), uuid4(), SETTINGS))
            await wait_for_lock(database_url, second.info.backend_pid)
            await first.commit()
            return await waiting

    assert 20 <= (asyncio.run(race()) or 0) < 25


def test_nobody_asks_before_their_turn(database_url: str, server: BoardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, gap=0.4)
    arrived: list[float] = []

    def note(request: Any, body: bytes) -> None:
        arrived.append(time.monotonic())
        faults.send(request, body)

    names = ("bramblewick", "kestrelmoor", "otterline")
    server.faults |= dict.fromkeys(names, note)

    async def at_once(ports: Ports) -> list[Standing]:
        asking = [freshen(make_handle(ports), Unit("greenhouse", name), JobSearchSettings()) for name in names]
        return await asyncio.gather(*asking)

    began = time.monotonic()
    assert all(standing.asked for standing in asyncio.run(with_worker(database_url, at_once)))
    _, second, third = arrived
    assert (second >= began + 0.4, third >= began + 0.8) == (True, True)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(ThrottledError("asked too often", retry_after=7), 7), (RefusedError("refuses to answer"), 900)],
)
def test_a_source_that_wants_to_be_left_alone_rests_with_all_its_boards(
    clock: Clock, error: SourceError, seconds: int
) -> None:
    clock.freeze(MORNING)
    units = ACME, OTTERLINE, LEVER
    left = "select error, rests_until from foxtrot.fetch_sources where source = 'greenhouse'"

    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting("1", OTTERLINE), unit=OTTERLINE)
        assert await ask(conn, ACME, error) is not None
        told = [(unit.state, unit.error, unit.rest_seconds) for unit in await read_units(conn, units, ALWAYS)]
        assert told == [("resting", error.message, seconds)] * 2 + [("due", None, 0)]
        assert await ask(conn, OTTERLINE, settings=ALWAYS) is None
        assert await ask(conn, LEVER) == 0
        clock.advance(timedelta(seconds=seconds) - SECOND)
        assert await states(conn, *units, settings=ALWAYS) == ["resting", "resting", "due"]
        clock.advance(SECOND)
        assert await states(conn, *units, settings=ALWAYS) == ["due", "due", "due"]
        assert await ask(conn, OTTERLINE, settings=ALWAYS) is not None
        assert await rows(conn, left) == [(None, None)]

    with_connection(clock.url, work)


@pytest.mark.parametrize("error", [UnavailableError("out of order"), UnknownBoardError("does not exist")])
def test_another_fault_of_one_board_leaves_the_others_alone(clock: Clock, error: SourceError) -> None:
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> None:
        assert await ask(conn, ACME, error) == 0
        assert await states(conn, ACME, OTTERLINE) == ["resting", "due"]

    with_connection(clock.url, work)


def test_a_shorter_rest_does_not_end_a_longer_one(clock: Clock) -> None:
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> None:
        first, second = uuid4(), uuid4()
        assert await lease_unit(conn, ACME, first, SETTINGS) is not None
        assert await lease_unit(conn, OTTERLINE, second, SETTINGS) is not None
        await release_unit(conn, ACME, first, ThrottledError("left alone", retry_after=600))
        await release_unit(conn, OTTERLINE, second, ThrottledError("left alone", retry_after=7))
        [standing] = await read_units(conn, [board(3)], SETTINGS)
        assert (standing.state, standing.rest_seconds) == ("resting", 600)

    with_connection(clock.url, work)
