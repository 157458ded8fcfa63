"""200 users in 12 zones who only ever searched by hand are enrolled, and wake up to their last search, fresh."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from scheduler.service import pass_once
from shared.queue import NewRun, disagreements, enqueue_many
from shared.schedules import Rules, daily, enroll_some
from shared.schedules.kept import FIRST
from shared.tokens import user_id_of
from shared.users import upsert_user
from tests.clock import Clock
from tests.scheduler.support import DEMO, REGISTRY, Search, end_runs, on_database, rows, scheduling, settings

BEGIN = datetime(2031, 2, 10, 17, tzinfo=UTC)  # nowhere among these zones is it soon 08:00
END = BEGIN + timedelta(hours=26)
STEP = timedelta(minutes=15)
USERS = 200
ZONES = (
    "Europe/London", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "Asia/Tokyo",
    "Asia/Seoul", "Asia/Singapore", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "Africa/Lagos",
)  # fmt: skip
IDS = [user_id_of(f"searcher-{number}") for number in range(USERS)]
ZONE = dict(zip(IDS, (ZONES * USERS)[:USERS], strict=True))
SEARCHES = {user_id: 1 + number % 3 for number, user_id in enumerate(IDS)}  # by hand, each for something else
TIMES = settings().refresh_times


def test_who_only_searched_by_hand_wakes_up_to_their_last_search(clock: Clock) -> None:
    clock.freeze(BEGIN - timedelta(days=1))
    on_database(clock.url, _sign_up)
    for turn in range(max(SEARCHES.values())):
        on_database(clock.url, partial(_search, turn=turn))
        end_runs(clock.url)
        clock.advance(timedelta(hours=1))
    clock.freeze(BEGIN)
    assert on_database(clock.url, _enroll) == [60, 60, 60, 20]
    scheduling(clock.url, lambda pool: _walk(pool, clock))
    _check(clock.url)
    assert on_database(clock.url, disagreements) == []


async def _sign_up(conn: AsyncConnection) -> None:
    for user_id in IDS:
        await upsert_user(conn, user_id, zone=ZONE[user_id])


async def _search(conn: AsyncConnection, turn: int) -> None:
    """Everybody whose searches are not over searches for something new."""
    await enqueue_many(
        conn,
        [
            NewRun.of(DEMO, Search(query=f"{user_id} {turn}"), user_id=user_id)
            for user_id in IDS
            if turn < SEARCHES[user_id]
        ],
    )


async def _enroll(conn: AsyncConnection) -> list[int]:
    """Page by page; their sizes."""
    pages: list[int] = []
    after: UUID | None = FIRST
    while after:
        some = await enroll_some(
            conn, DEMO, crons=daily(TIMES), rules=Rules("Europe/London"), dry_run=False, after=after, at_most=60
        )
        pages.append(some.schedules)
        after = some.last
    return pages


async def _walk(pool: AsyncConnectionPool, clock: Clock) -> None:
    """From quarter to quarter of an hour; the runs of one have ended by the next, so that none covers another."""
    while clock.now() < END:
        clock.advance(STEP)
        await pass_once(pool, settings(), REGISTRY)
        end_runs(clock.url)


def _check(url: str) -> None:
    """Everybody's refreshes are at the times of day of their own zone, for what they searched last."""
    refreshes = rows(
        url, "select user_id, scheduled_for, created_at, parameters ->> 'query' from foxtrot.runs where source = 'cron'"
    )
    assert rows(url, "select from foxtrot.skips") == []
    assert all(created_at == slot for _, slot, created_at, _ in refreshes)
    assert all(query == f"{user_id} {SEARCHES[user_id] - 1}" for user_id, _, _, query in refreshes)
    steps = [BEGIN + n * STEP for n in range(1, (END - BEGIN) // STEP + 1)]
    expected = Counter((user_id, step) for user_id in IDS for step in steps if _time_of_day(user_id, step) in TIMES)
    assert Counter((user_id, slot) for user_id, slot, *_ in refreshes) == expected
    mornings = Counter(user_id for user_id, slot, *_ in refreshes if _time_of_day(user_id, slot) == "08:00")
    assert mornings == dict.fromkeys(IDS, 1)


def _time_of_day(user_id: UUID, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(ZONE[user_id])):%H:%M}"
