"""Three recorded days, 200 users in 12 zones, real processes: everything the system says is checked against raw JSON.

The database's clock is walked from slot to slot. Three workers and two schedulers run all along as they are deployed,
and one worker is killed with runs in its hands.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import pytest

from kinds.job_search import board_faults as faults
from kinds.job_search.board_contents import recorded_boards
from kinds.job_search.board_server import BoardServer
from kinds.job_search.sources import SOURCES
from shared.cron import next_slots
from shared.kinds import Registry, load_registry
from shared.queue import NewRun, disagreements, enqueue
from shared.schedules import Rules, Wish, put_schedule
from shared.tokens import user_id_of
from shared.users import upsert_user
from tests.clock import Clock
from tests.flows.raw_boards import Raw, Unit, matches, read_raw
from tests.support import connect, wait_until

ROOT = Path(__file__).parents[2]
DAYS = (date(2026, 3, 24), date(2026, 4, 24), date(2026, 5, 26))
BEGIN = datetime(2026, 3, 24, tzinfo=UTC)
END = BEGIN + timedelta(days=len(DAYS), seconds=-1)
USERS = 200
FEEDS = ("remotive", "arbeitnow", "remoteok")
BOARDS = (
    "airbnb", "elastic", "gitlab", "reddit", "riotgames", "stripe", "lever:spotify", "ashby:ramp", "ashby:truelogic",
)  # fmt: skip
KILLED_AT = 20  # the slot at which a worker dies

ZONES = (
    "Europe/London", "Europe/Lisbon", "America/New_York", "America/Toronto", "Asia/Tokyo", "Asia/Seoul",
    "Asia/Kolkata", "Europe/Berlin", "Europe/Madrid", "Asia/Singapore", "America/Sao_Paulo", "Australia/Adelaide",
)  # fmt: skip
QUERIES = (
    "engineer", "manager", "analyst", "designer", "security", "sales", "data", "product", "counsel", "marketing",
    "account executive", "software engineer", "machine learning", "customer success", "backend", "frontend",
    "operations", "recruiter", "support", "senior", "staff engineer", "director", "program manager", "artist",
    "research", "finance", "partnerships", "infrastructure", "solutions architect", "payments", "engineer -senior",
    '"product manager"', "designer OR artist", "legal", "risk", "developer", "platform", "mobile", "ios OR android",
    "strategy", "compliance", "technical", "writer", "localization", "policy", "brand", "community", "ai", "vue",
    "search",
)  # fmt: skip
NARROWED: dict[int, dict[str, Any]] = {
    3: {"location": "london"},
    7: {"location": "new york"},
    11: {"companies": ["stripe"]},
    13: {"companies": ["ashby:ramp", "lever:spotify", "gitlab"]},
    17: {"posted_within": 30},
    19: {"location": "dublin", "companies": ["stripe", "reddit"]},
    23: {"sources": ["arbeitnow", "lever", "remotive"]},
    29: {"sources": ["greenhouse"]},
}
PRESSES = {2: 1, 6: 11, 9: 20, 14: 113, 25: 147}  # at which slot who also presses Run now
ASKS_STRIPE = """
select worker.pid from foxtrot.queue join foxtrot.workers worker on worker.id = worker_id
where detail like '%%stripe%%'
"""
SETTINGS = {
    "SCHEDULER_INTERVAL_SECONDS": "0.1",
    "WORKER_POLL_INTERVAL_SECONDS": "0.1",
    "WORKER_SLOTS": "20",
    "WORKER_GRACE_SECONDS": "5",
    "LOG_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Searcher:
    """A user of the walk."""

    number: int

    @property
    def id(self) -> UUID:
        return user_id_of(f"user-{self.number}")

    @property
    def zone(self) -> str:
        return ZONES[self.number % len(ZONES)]

    @property
    def crons(self) -> list[str]:
        return ["0 8 * * *"] if self.number % 3 else ["0 8 * * *", "0 17 * * *"]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"query": QUERIES[self.number % len(QUERIES)]} | NARROWED.get(self.number % 31, {})

    @property
    def slots(self) -> list[datetime]:
        return [slot for slot in next_slots(self.crons, self.zone, BEGIN, 10) if slot <= END]

    def searches(self, unit: Unit) -> bool:
        """Whether the user's search is over that board."""
        source, board = unit
        if "companies" in self.parameters:
            return (board if source == "greenhouse" else f"{source}:{board}") in self.parameters["companies"]
        return source in self.parameters.get("sources", SOURCES)

    def wants(self, raw: Raw, now: datetime) -> bool:
        """Whether the user's search matches the raw job."""
        asked = self.parameters
        recent = "posted_within" not in asked or raw.posted > now - timedelta(days=asked["posted_within"])
        here = asked.get("location", "") in raw.places
        return self.searches(raw.unit) and here and recent and matches(asked["query"], raw.words)


SEARCHERS = [Searcher(number) for number in range(USERS)]


@pytest.fixture
def boards(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardServer]:
    with BoardServer(data=data, day=DAYS[0]) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_three_recorded_days_for_two_hundred_users(clock: Clock, boards: BoardServer, data: Path) -> None:
    shown = [_read_all(recorded_boards(data, day)) for day in DAYS]
    slots = sorted({slot for one in SEARCHERS for slot in one.slots})
    asked: list[Counter[str]] = []
    clock.freeze(BEGIN)
    asyncio.run(_sign_up(clock.url, load_registry(["kinds"])))
    clock.run()
    with _processes(clock.url, boards) as workers:
        for number, instant in enumerate(slots):
            if (day := DAYS[(instant - BEGIN).days]) != boards.day:
                boards.day = day
                asked.append(boards.requests.copy())
            _go_to(clock, instant)
            if number == KILLED_AT:
                _kill_one(clock.url, boards, workers)
            if number in PRESSES:
                asyncio.run(_press(clock.url, PRESSES[number]))
            wait_until(partial(_settled, clock.url, instant), within=60)
    _check_requests([*asked, boards.requests.copy()], slots)
    asyncio.run(_check_slots(clock.url))
    _check_results(clock.url, shown)
    _check_postings(clock.url, shown)


def _read_all(bodies: dict[str, Any]) -> list[Raw]:
    return [raw for reference, body in bodies.items() for raw in read_raw(reference, body)]


async def _sign_up(url: str, registry: Registry) -> None:
    async with connect(url) as conn:
        for one in SEARCHERS:
            await upsert_user(conn, one.id, zone=one.zone)
            wish = Wish("jobs", "job_search", one.parameters, one.crons)
            await put_schedule(conn, registry, one.id, wish, rules=Rules("Europe/London"))


@contextmanager
def _processes(url: str, boards: BoardServer) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three workers and two schedulers until the end of the block, when those that are left stop cleanly."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | SETTINGS | boards.environment | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, "-m", "cli", name], env=environment))
            for name in ("worker", "worker", "worker", "scheduler", "scheduler")
        ]
        for process in started:
            stack.callback(process.kill)
        wait_until(lambda: _one(url, "select count(*) from foxtrot.workers") == 3, within=60)
        yield started[:3]
        left = [process for process in started if process.poll() is None]
        for process in left:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(30) for process in left] == [0] * len(left)


def _go_to(clock: Clock, instant: datetime) -> None:
    """Let the slot come due a moment ago; leases count from then on, as after an outage of the server."""
    clock.server_started(instant)
    clock.advance(instant + timedelta(seconds=0.5) - clock.now())


def _kill_one(url: str, boards: BoardServer, workers: list[subprocess.Popen[bytes]]) -> None:
    """Kill a worker that asks a board, with its runs; the board answers whoever asks next."""
    hold = Event()
    boards.faults["stripe"] = faults.delayed(hold)
    wait_until(lambda: _one(url, ASKS_STRIPE), within=30)
    [victim] = [process for process in workers if process.pid == _one(url, ASKS_STRIPE)]
    victim.kill()
    victim.wait()
    assert _one(url, "select count(*) from foxtrot.queue") > 0
    del boards.faults["stripe"]
    hold.set()


async def _press(url: str, number: int) -> None:
    kind, one = load_registry(["kinds"]).get("job_search"), SEARCHERS[number]
    async with connect(url) as conn:
        await enqueue(conn, NewRun.of(kind, kind.parse(one.parameters), user_id=one.id))


def _settled(url: str, instant: datetime) -> bool:
    """Whether every run or skip of the slot is there and nothing is live."""
    due = sum(instant in one.slots for one in SEARCHERS)
    done = "select count(*) from foxtrot.runs where scheduled_for = %s and status is not null"
    skipped = "select count(*) from foxtrot.skips where scheduled_for = %s"
    there = int(_one(url, done, instant) + _one(url, skipped, instant))
    return there == due and not _one(url, "select exists (select from foxtrot.queue)")


def _check_requests(asked: list[Counter[str]], slots: list[datetime]) -> None:
    """Requests of each day, from the sums at their ends: boards as often as somebody needs them, feeds in their budget.

    The worker that died may have asked a board in vain, or left it leased unasked, so that a stored copy had to do.
    """
    days = [today - before for before, today in pairwise([Counter[str](), *asked])]
    assert len(days) == len(DAYS)
    for number, today in enumerate(days):
        spare = (slots[KILLED_AT] - BEGIN).days == number
        due = [slot for slot in slots if (slot - BEGIN).days == number]
        for board in BOARDS:
            needed = sum(any(_needs(one, board, slot, slots) for one in SEARCHERS) for slot in due)
            assert abs(today[board] - needed) <= spare
        for feed in FEEDS:
            assert 0 < today[feed] <= min(SOURCES[feed].calls_a_day or 24, 24)


def _needs(one: Searcher, board: str, slot: datetime, slots: list[datetime]) -> bool:
    presses = slots.index(slot) in PRESSES and PRESSES[slots.index(slot)] == one.number
    source, _, name = board.rpartition(":")
    return (presses or slot in one.slots) and one.searches((source or "greenhouse", name))


async def _check_slots(url: str) -> None:
    async with connect(url) as conn:
        assert await disagreements(conn) == []
        rows = await conn.execute(
            "select user_id, scheduled_for from foxtrot.runs where source = 'cron'"
            " union all select user_id, scheduled_for from foxtrot.skips"
        )
        settled = sorted((str(user_id), slot) for user_id, slot in await rows.fetchall())
    assert settled == sorted((str(one.id), slot) for one in SEARCHERS for slot in one.slots)
    assert len(settled) > 750


def _check_results(url: str, shown: list[list[Raw]]) -> None:
    """Every `found`, and every `new`: what matches now and was not listed at the user's success before."""
    by_id = {one.id: one for one in SEARCHERS}
    before: defaultdict[UUID, set[Any]] = defaultdict(set)
    runs = _all(url, "select user_id, status, result, finished_at, attempt from foxtrot.runs order by finished_at, id")
    wrong = []
    for user_id, status, result, finished_at, _ in runs:
        one, listed = by_id[user_id], shown[(finished_at - BEGIN).days]
        expected = {raw.key for raw in listed if one.wants(raw, finished_at)}
        new = expected - before[user_id]
        before[user_id] = {raw.key for raw in listed}
        if (status, result["found"], result["new"]) != ("success", len(expected), len(new)):
            wrong.append((one.parameters, status, result["found"], len(expected), result["new"], len(new)))
    assert wrong == []
    assert max(attempt for *_, attempt in runs) > 1, "nobody's run outlived the worker that was killed"


def _check_postings(url: str, shown: list[list[Raw]]) -> None:
    """Each day's openings and closings are the raw differences; what is open at the end is what the last day lists."""
    turns = [BEGIN + timedelta(days=number) for number in range(len(DAYS) + 1)]
    rows = _all(url, "select source, board, external_id, closed_at, first_seen_at from foxtrot.postings")
    listed = [{raw.key for raw in raws} for raws in shown]
    assert {tuple(key) for *key, closed, _ in rows if closed is None} == listed[-1]
    assert {tuple(key) for *key, _, seen in rows if seen < turns[1]} == listed[0]
    for number, (before, after) in enumerate(pairwise(listed), start=1):
        day = (turns[number], turns[number + 1])
        opened = {tuple(key) for *key, _, seen in rows if day[0] <= seen < day[1]}
        assert opened == after - set().union(*listed[:number])
        last = {tuple(key) for *key, closed, _ in rows if closed is not None and day[0] <= closed < day[1]}
        assert last == {key for key in before - after if not any(key in later for later in listed[number:])}
        assert before - after
        assert after - before


def _one(url: str, query: str, *values: Any) -> Any:
    rows = _all(url, query, *values)
    return rows[0][0] if rows else None


def _all(url: str, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, prepare_threshold=None) as conn:
        return conn.execute(query.encode(), values).fetchall()
