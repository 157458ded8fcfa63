import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from structlog.testing import capture_logs

from scheduler.maintenance import Maintenance
from shared.db import Timeouts
from shared.models import RunStep, Skip
from shared.partitions import weeks_ahead
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, holding, on_database, rows, scheduling, settings
from tests.support import insert, make_run, make_tick, make_timetable, make_user, make_worker

NOW = datetime(2031, 3, 30, 8, tzinfo=UTC)
DAY = timedelta(days=1)
WEEKS = "select array_agg(relname::text order by relname) from pg_class where relname ~ '^runs_[0-9]{8}$'"


def maintain(url: str, work: Callable[[Maintenance], Awaitable[Any]]) -> Any:
    """Two rows to a statement, so that each has to be repeated."""
    few = partial(Maintenance, settings=settings(), registry=REGISTRY, stop=asyncio.Event(), at_once=2)
    return scheduling(url, lambda pool: work(few(pool)), Timeouts(lock=0.3))


def tidy(url: str) -> None:
    maintain(url, lambda maintenance: maintenance.tidy_once())


def weeks(url: str) -> list[str]:
    ((names,),) = rows(url, WEEKS)
    return list(names)


def test_weeks_are_made_from_the_oldest_slot_that_is_kept_to_eight_ahead(clock: Clock) -> None:
    clock.freeze(NOW)
    tidy(clock.url)
    made = [name for name in weeks(clock.url) if name.startswith("runs_2031")]
    first = datetime(2031, 2, 24, tzinfo=UTC)
    assert made == [f"runs_{first + n * 7 * DAY:%Y%m%d}" for n in range(13)]
    assert on_database(clock.url, weeks_ahead) == 8


def test_workers_that_died_over_a_day_ago_are_removed(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> UUID:
        await make_worker(conn, lease_expires_at=NOW - DAY - timedelta(seconds=1))
        return (await make_worker(conn, lease_expires_at=NOW - DAY)).id

    clock.freeze(NOW)
    left = on_database(clock.url, make)
    tidy(clock.url)
    assert rows(clock.url, "select id from foxtrot.workers") == [(left,)]


def test_ticks_are_removed_when_they_are_finished_and_older_than_what_is_kept(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        timetable = await make_timetable(conn)
        for days, finished in ((30, True), (31, True), (32, False)):
            slot = NOW - days * DAY
            await make_tick(conn, timetable, scheduled_for=slot, finished_at=slot if finished else None)

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    left = rows(clock.url, "select scheduled_for from foxtrot.ticks order by 1")
    assert left == [(NOW - 32 * DAY,), (NOW - 30 * DAY,)]


def test_skips_are_removed_when_they_are_older_than_what_is_kept(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        user = await make_user(conn)
        for days in (30, 31):
            values = {"schedule_id": uuid4(), "scheduled_for": NOW - days * DAY, "reason": "overlap"}
            await insert(conn, Skip, values | {"user_id": user.id, "bucket": user.bucket})

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    assert rows(clock.url, "select scheduled_for from foxtrot.skips") == [(NOW - 30 * DAY,)]


def test_steps_are_removed_a_day_after_their_run_ended_and_kept_while_it_lives(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        user = await make_user(conn)
        old, recent = NOW - 2 * DAY, NOW - DAY
        live = await make_run(conn, user, "running")
        ended = await make_run(conn, user, "success", finished_at=NOW - DAY - timedelta(seconds=1))
        ends = await make_run(conn, user, "success", finished_at=recent)
        for name, run_id in (("live", live.id), ("ended", ended.id), ("ends", ends.id), ("gone", uuid4())):
            values = {"run_id": run_id, "name": name, "bucket": user.bucket, "user_id": user.id, "attempt": 1}
            await insert(conn, RunStep, values | {"created_at": old})

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    assert rows(clock.url, "select name from foxtrot.run_steps order by name") == [("ends",), ("live",)]


def test_more_than_fits_one_statement_is_removed_too(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        for _ in range(5):
            await make_worker(conn, lease_expires_at=NOW - 2 * DAY)

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    assert rows(clock.url, "select from foxtrot.workers") == []


# Expired runs----------------------------------------------------------------------------------------------------


def test_expired_runs_are_emptied_and_their_rows_stay(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        user = await make_user(conn)
        for minute in range(5):
            values: dict[str, Any] = {"headline": "3 found", "result": {"found": 3}, "parameters": {"minute": minute}}
            expires_at = NOW + timedelta(minutes=minute)
            await make_run(conn, user, "success", expires_at=expires_at, client_context={"tab": 1}, **values)
        await make_run(conn, user, "pending", parameters={"live": True})

    clock.freeze(NOW)
    on_database(clock.url, make)
    clock.advance(timedelta(minutes=2))
    assert maintain(clock.url, lambda maintenance: maintenance.sweep_once()) == 3
    query = "select parameters, client_context, headline, result, errors from foxtrot.runs"
    empty: tuple[Any, ...] = ({}, None, None, None, [])
    full: list[tuple[Any, ...]] = [({"minute": minute}, {"tab": 1}, "3 found", {"found": 3}, []) for minute in (3, 4)]
    assert rows(clock.url, f"{query} where expires_at <= now()") == [empty] * 3
    assert rows(clock.url, f"{query} where expires_at > now() order by expires_at") == full
    assert rows(clock.url, f"{query} where expires_at is null") == [({"live": True}, None, None, None, [])]
    assert maintain(clock.url, lambda maintenance: maintenance.sweep_once()) == 0


# Weeks that may go --------------------------------------------------------------------------------------------------


async def expired_run(conn: AsyncConnection) -> None:
    await make_run(conn, await make_user(conn), "success", expires_at=NOW + 30 * DAY)


def test_a_week_is_dropped_when_it_ended_longer_ago_than_anything_is_kept(clock: Clock) -> None:
    clock.freeze(NOW)
    on_database(clock.url, expired_run)
    clock.freeze(NOW.replace(hour=0) + 31 * DAY)
    tidy(clock.url)
    assert "runs_20310324" in weeks(clock.url)
    clock.advance(timedelta(microseconds=1))
    tidy(clock.url)
    assert weeks(clock.url)[0] == "runs_20310331"


def test_a_week_with_a_run_that_lives_or_can_be_read_stays(clock: Clock) -> None:
    async def late_run(conn: AsyncConnection) -> None:
        await make_run(conn, await make_user(conn), "success", expires_at=NOW + 60 * DAY)

    clock.freeze(NOW)
    on_database(clock.url, late_run)
    clock.freeze(NOW + 50 * DAY)
    tidy(clock.url)
    assert "runs_20310324" in weeks(clock.url)
    assert "runs_20310317" not in weeks(clock.url)


def test_a_week_that_cannot_be_dropped_now_is_said_and_dropped_later(clock: Clock) -> None:
    clock.freeze(NOW)
    on_database(clock.url, expired_run)
    clock.freeze(NOW + 50 * DAY)
    writing = "lock table only foxtrot.runs in row exclusive mode"
    with holding(clock.url, writing), capture_logs() as logs:
        tidy(clock.url)
    assert "partition_not_dropped" in {log["event"] for log in logs}
    assert rows(clock.url, "select count(*) from pg_inherits where inhdetachpending") == [(1,)]
    before = weeks(clock.url)
    with holding(clock.url, writing):  # what is left to do with that week blocks no writer and waits for none
        tidy(clock.url)
        assert weeks(clock.url) == before[1:]
    tidy(clock.url)
    assert "runs_20310324" not in weeks(clock.url)


def test_a_week_that_a_crash_left_detached_is_dropped(clock: Clock) -> None:
    async def detach(conn: AsyncConnection) -> None:
        await conn.execute("alter table foxtrot.runs detach partition foxtrot.runs_20310324")

    clock.freeze(NOW)
    on_database(clock.url, detach)
    clock.freeze(NOW + 50 * DAY)
    tidy(clock.url)
    assert "runs_20310324" not in weeks(clock.url)


def test_newer_tzdata_than_ours_is_said(clock: Clock) -> None:
    on_database(clock.url, lambda conn: make_timetable(conn, tzdata="9999a"))
    with capture_logs() as logs:
        tidy(clock.url)
    assert [log["timetables"] for log in logs if log["event"] == "tzdata_outdated"] == [1]
