"""Two recorded days, 50 users in 12 zones: everything the system says is checked against the boards' raw answers."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import snowballstemmer
from psycopg_pool import AsyncConnectionPool

from kinds.job_search.board_server import BoardServer, recorded_boards
from scheduler.service import pass_once
from shared.cron import next_slots
from shared.db import open_pool
from shared.kinds import Registry, load_registry
from shared.queue import NewRun, disagreements, enqueue
from shared.schedules import Wish, put_schedule
from shared.settings import Settings
from shared.tokens import user_id_of
from shared.users import upsert_user
from tests.clock import Clock
from tests.support import connect
from worker.worker import open_worker

DAYS = (date(2026, 3, 24), date(2026, 4, 24))
BEGIN = datetime(2026, 3, 24, tzinfo=UTC)
FRESH = timedelta(minutes=10)

ZONES = (
    "Europe/London", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "Asia/Tokyo", "Asia/Kolkata",
    "Asia/Kathmandu", "Australia/Adelaide", "Pacific/Auckland", "Africa/Lagos", "Europe/Berlin", "Asia/Singapore",
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
    13: {"companies": ["gitlab", "elastic"]},
    17: {"posted_within": 30},
    19: {"location": "dublin", "companies": ["stripe", "reddit"]},
}
MANUAL_USERS = (1, 11, 20, 33, 47)
stem = lru_cache(snowballstemmer.stemmer("english").stemWord)


def _words(text: str) -> list[str]:
    return [stem(word) for word in re.findall(r"[a-z0-9]+", text.lower())]


def _matches(query: str, words: list[str]) -> bool:
    """The query by hand: OR of ANDs, quotes for words in a row, minus for words that must not occur."""
    return any(_all_match(part, words) for part in query.split(" OR "))


def _all_match(part: str, words: list[str]) -> bool:
    for minus, phrase, word in re.findall(r'(-?)(?:"([^"]+)"|(\S+))', part):
        wanted = _words(phrase or word)
        found = any(words[at : at + len(wanted)] == wanted for at in range(len(words)))
        if found == bool(minus):
            return False
    return True


def _brute_force(parameters: dict[str, Any], boards: dict[str, Any], now: datetime) -> set[tuple[str, str]]:
    return {
        (board, str(job["id"]))
        for board, body in boards.items()
        if board in parameters.get("companies", boards)
        for job in body["jobs"]
        if _wanted(parameters, job, now)
    }


def _wanted(parameters: dict[str, Any], job: dict[str, Any], now: datetime) -> bool:
    place = job["location"]["name"]
    fields = (job["title"], job["company_name"], place)
    if "location" in parameters and parameters["location"] not in place.lower():
        return False
    posted = datetime.fromisoformat(job["first_published"])
    if "posted_within" in parameters and posted <= now - timedelta(days=parameters["posted_within"]):
        return False
    return _matches(parameters["query"], [word for text in fields for word in [*_words(text), "·"]])


@dataclass(frozen=True)
class Searcher:
    """A user of the walk."""

    name: str
    zone: str
    crons: list[str]
    parameters: dict[str, Any]

    @property
    def id(self) -> UUID:
        return user_id_of(self.name)

    def slots(self, end: datetime) -> list[datetime]:
        return [slot for slot in next_slots(self.crons, self.zone, BEGIN, 10) if slot <= end]


def _searchers() -> list[Searcher]:
    return [
        Searcher(
            f"user-{n}",
            ZONES[n % len(ZONES)],
            ["0 8 * * *"] if n % 3 else ["0 8 * * *", "30 17 * * *"],
            {"query": query} | NARROWED.get(n, {}),
        )
        for n, query in enumerate(QUERIES)
    ]


@pytest.fixture
def boards(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardServer]:
    with BoardServer(data=data, day=DAYS[0]) as server:
        monkeypatch.setenv("GREENHOUSE_URL", server.url)
        monkeypatch.setenv("JOB_BOARDS", ",".join(sorted(server.boards)))
        yield server


def test_two_recorded_days_for_fifty_users(clock: Clock, boards: BoardServer, data: Path) -> None:
    asyncio.run(_walk_two_days(clock, boards, data))


async def _walk_two_days(clock: Clock, boards: BoardServer, data: Path) -> None:
    settings = Settings(worker_slots=50)
    registry = load_registry(["kinds"])
    searchers = _searchers()
    shown = {day: recorded_boards(data, day) for day in DAYS}
    clock.freeze(BEGIN)
    await _sign_up(clock.url, registry, searchers)
    end = BEGIN + timedelta(hours=48, seconds=-1)
    slots = sorted({slot for one in searchers for slot in one.slots(end)})
    # Two of the five press it minutes after a slot, when the stored copies are still fresh.
    presses = [slots[2] + timedelta(minutes=4), slots[4] + timedelta(minutes=9)] + [
        slots[n] + timedelta(minutes=14) for n in (6, -12, -7)
    ]
    pressing = dict(zip(presses, MANUAL_USERS, strict=True))
    fetches: dict[str, datetime] = {}
    asked = dict.fromkeys(boards.boards, 0)
    async with open_pool(clock.url, "scheduler", size=2) as pool:
        for instant in sorted({*slots, *presses}):
            day = DAYS[(instant - BEGIN) // timedelta(hours=24)]
            if boards.day != day:
                boards.day = day
            clock.freeze(instant + timedelta(seconds=1))
            await _serve(clock.url, pool, settings, registry, searchers, pressing.get(instant))
            due = [one for one in searchers if instant in one.slots(end)]
            due += [searchers[pressing[instant]]] if instant in pressing else []
            for board in {name for one in due for name in one.parameters.get("companies", asked)}:
                if instant - fetches.get(board, BEGIN - FRESH) >= FRESH:
                    fetches[board], asked[board] = instant, asked[board] + 1
    assert dict(boards.requests) == asked
    await _check_slots(clock.url, searchers, end, set(presses))
    await _check_results(clock.url, searchers, shown)
    await _check_postings(clock.url, shown)


async def _sign_up(url: str, registry: Registry, searchers: list[Searcher]) -> None:
    async with connect(url) as conn:
        for one in searchers:
            await upsert_user(conn, one.id, zone=one.zone)
            wish = Wish("jobs", "job_search", one.parameters, one.crons)
            await put_schedule(conn, registry, one.id, wish, default_zone="Europe/London")


async def _serve(
    url: str,
    pool: AsyncConnectionPool,
    settings: Settings,
    registry: Registry,
    searchers: list[Searcher],
    presser: int | None,
) -> None:
    """One instant of the walk: a pass of the scheduler, a press of Run now, and the worker until nothing is due."""
    await pass_once(pool, settings, registry)
    if presser is not None:
        one, kind = searchers[presser], registry.get("job_search")
        async with pool.connection() as conn:
            new = NewRun.of(kind, kind.parse(one.parameters), user_id=one.id)
            assert (await enqueue(conn, new)).created
    # A worker of its own: the clock jumps further than a lease lasts.
    async with open_worker(settings, url, registry, stop=asyncio.Event()) as worker:
        while await worker.work_once():
            pass


async def _check_slots(url: str, searchers: list[Searcher], end: datetime, presses: set[datetime]) -> None:
    async with connect(url) as conn:
        assert await disagreements(conn) == []
        rows = await conn.execute(
            "select user_id, scheduled_for from foxtrot.runs where source = 'cron'"
            " union all select user_id, scheduled_for from foxtrot.skips"
        )
        settled = sorted((str(user_id), slot) for user_id, slot in await rows.fetchall())
        rows = await conn.execute("select count(*) from foxtrot.runs where source = 'manual' and status = 'success'")
        assert await rows.fetchone() == (len(presses),)
    assert settled == sorted((str(one.id), slot) for one in searchers for slot in one.slots(end))
    assert len(settled) > 120


async def _check_results(url: str, searchers: list[Searcher], boards: dict[date, dict[str, Any]]) -> None:
    """Every `found`, and every `new`: what matches now and was not listed at the user's success before."""
    by_id = {one.id: one for one in searchers}
    listed = {
        day: {(name, str(job["id"])) for name, body in boards[day].items() for job in body["jobs"]} for day in DAYS
    }
    before: dict[UUID, set[tuple[str, str]]] = {}
    async with connect(url) as conn:
        rows = await conn.execute(
            "select id, user_id, status, result, finished_at from foxtrot.runs order by finished_at, id"
        )
        runs = await rows.fetchall()
    wrong = []
    for run_id, user_id, status, result, finished_at in runs:
        day = DAYS[(finished_at - BEGIN) // timedelta(hours=24)]
        expected = _brute_force(by_id[user_id].parameters, boards[day], finished_at)
        fresh = expected - before.get(user_id, set())
        before[user_id] = listed[day]
        if (status, result["found"], result["new"]) != ("success", len(expected), len(fresh)):
            wrong.append((run_id, by_id[user_id].parameters, result["found"], len(expected), result["new"], len(fresh)))
    assert wrong == []


async def _check_postings(url: str, boards: dict[date, dict[str, Any]]) -> None:
    """Open are exactly the second day's; closed those of the first day that it lacks; opened then those it adds."""
    first, second = ({(name, str(job["id"])) for name in day for job in day[name]["jobs"]} for day in boards.values())
    async with connect(url) as conn:
        rows = await conn.execute("select board, external_id, closed_at, first_seen_at from foxtrot.postings")
        stored = {(board, external_id): (closed, seen) for board, external_id, closed, seen in await rows.fetchall()}
    turn = BEGIN + timedelta(hours=24)
    assert {key for key, (closed, _) in stored.items() if closed is None} == second
    assert {key for key, (closed, _) in stored.items() if closed is not None and closed >= turn} == first - second
    assert {key for key, (_, seen) in stored.items() if seen >= turn} == second - first
    assert first - second
    assert second - first
