import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg_pool import AsyncConnectionPool
from structlog.testing import capture_logs

from scheduler.maintenance import PRUNE_TIMETABLES, REST, UNUSED, Maintenance, Unused, _prune_timetables
from shared.cron import tzdata_version
from shared.db import Timeouts, fetch_all
from shared.models import Pause, RunStep, Skip, Timetable
from shared.partitions import weeks_ahead
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, holding, on_database, rows, scheduling, settings, subscribe, wish
from tests.support import (
    connect,
    insert,
    make_run,
    make_schedule,
    make_tick,
    make_timetable,
    make_user,
    make_worker,
    wait_for_lock,
    wait_until,
)

NOW = datetime(2031, 3, 30, 8, tzinfo=UTC)
DAY = timedelta(days=1)
HASTY = Timeouts(lock=0.3)
WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
WEEKS = "select array_agg(relname::text order by relname) from pg_class where relname ~ '^runs_[0-9]{8}$'"


def maintain(url: str, work: Callable[[Maintenance], Awaitable[Any]], timeouts: Timeouts = HASTY) -> Any:
    """Two rows to a statement, so that each has to be repeated."""
    few = partial(Maintenance, settings=settings(), registry=REGISTRY, stop=asyncio.Event(), at_once=2)
    return scheduling(url, lambda pool: work(few(pool)), timeouts)


def tidy(url: str, timeouts: Timeouts = HASTY) -> None:
    maintain(url, lambda maintenance: maintenance.tidy_once(), timeouts)


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
        timetable = await make_timetable(conn, tzdata=tzdata_version())
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


def test_pauses_are_removed_when_they_ended_before_what_is_kept(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        (schedule,) = await subscribe(conn, await make_timetable(conn), 1)
        key = {"schedule_id": schedule.id, "bucket": schedule.bucket, "user_id": schedule.user_id}
        for since, until in ((33, 31), (32, 30), (31, None)):
            values = {"since": NOW - since * DAY, "until": until and NOW - until * DAY, "reason": "paused"}
            await insert(conn, Pause, key | values)

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    left = rows(clock.url, "select until from foxtrot.pauses order by since")
    assert left == [(NOW - 30 * DAY,), (None,)]


# Timetables that nobody has ------------------------------------------------------------------------------------------


async def unused(
    conn: AsyncConnection, n: int = 0, created_at: datetime = NOW - DAY - timedelta(seconds=1)
) -> Timetable:
    """A timetable that is old enough to go."""
    values = {"crons": [f"{n} 9 * * *"], "next_slot": NOW + DAY, "tzdata": tzdata_version()}
    return await make_timetable(conn, **values, created_at=created_at)


def timetables(url: str) -> set[UUID]:
    return {timetable_id for (timetable_id,) in rows(url, "select id from foxtrot.timetables")}


def test_timetables_that_no_schedule_has_are_removed_with_their_ticks(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        for n in range(5):
            await make_tick(conn, await unused(conn, n), scheduled_for=NOW, finished_at=NOW)

    clock.freeze(NOW)
    on_database(clock.url, make)
    tidy(clock.url)
    assert timetables(clock.url) == set()
    assert rows(clock.url, "select from foxtrot.ticks") == []


def test_timetables_stay_that_are_new_or_have_a_schedule_or_an_open_tick(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> set[UUID]:
        new = await unused(conn, 0, created_at=NOW - DAY)
        used, by_paused, open_tick = [await unused(conn, n) for n in (1, 2, 3)]
        await subscribe(conn, used, 1)
        await subscribe(conn, by_paused, 1, enabled=False, paused_at=NOW)
        await make_tick(conn, open_tick, scheduled_for=NOW)
        return {timetable.id for timetable in (new, used, by_paused, open_tick)}

    clock.freeze(NOW)
    left = on_database(clock.url, make)
    tidy(clock.url)
    assert timetables(clock.url) == left


def test_a_timetable_that_a_schedule_is_joining_stays(clock: Clock) -> None:
    async def scenario() -> None:
        async with connect(clock.url) as conn:
            await wish(conn, ["0 9 * * *"], "UTC")
            await asyncio.to_thread(tidy, clock.url)

    clock.freeze(NOW)
    timetable = on_database(clock.url, unused)
    asyncio.run(scenario())
    assert timetables(clock.url) == {timetable.id}


def test_a_schedule_that_joined_just_before_its_timetable_was_held_keeps_it(clock: Clock) -> None:
    async def scenario(pool: AsyncConnectionPool) -> None:
        async with connect(clock.url) as conn, pool.connection() as pruning:
            held = await fetch_all(pruning, UNUSED, {"at_most": 2}, Unused)
            assert len(held) == 1
            joining = asyncio.create_task(wish(conn, ["0 9 * * *"], "UTC"))
            await wait_for_lock(clock.url, conn.info.backend_pid)
            await pruning.rollback()  # as if it had held the row only now, knowing no more than it did
            await joining
            await conn.commit()
            await pruning.execute(PRUNE_TIMETABLES, {"ids": [timetable.id for timetable in held]})

    clock.freeze(NOW)
    timetable = on_database(clock.url, unused)
    scheduling(clock.url, scenario)
    assert timetables(clock.url) == {timetable.id}


def test_a_schedule_whose_timetable_is_removed_meanwhile_gets_another(clock: Clock) -> None:
    async def scenario(pool: AsyncConnectionPool) -> UUID:
        async with connect(clock.url) as conn, pool.connection() as pruning:
            assert await _prune_timetables({"at_most": 2}, pruning) == 1
            joining = asyncio.create_task(wish(conn, ["0 9 * * *"], "UTC"))
            await wait_for_lock(clock.url, conn.info.backend_pid)
            await pruning.commit()
            return await joining

    clock.freeze(NOW)
    timetable = on_database(clock.url, unused)
    user_id = scheduling(clock.url, scenario)
    (used,) = rows(clock.url, "select timetable_id from foxtrot.schedules where user_id = %s", user_id)
    assert timetables(clock.url) == set(used) != {timetable.id}


# Users who are away ---------------------------------------------------------------------------------------------------


def rest(url: str) -> int:
    return int(maintain(url, lambda maintenance: maintenance.rest_once()))


async def of_user(conn: AsyncConnection, timetable: Timetable, last_seen_at: datetime | None, **values: Any) -> UUID:
    return (await make_schedule(conn, await make_user(conn, last_seen_at=last_seen_at), timetable, **values)).id


def test_schedules_of_users_who_were_not_here_for_thirty_days_rest_from_now_on(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> set[UUID]:
        timetable = await make_timetable(conn)
        await of_user(conn, timetable, NOW - 30 * DAY)
        await of_user(conn, timetable, None)
        await of_user(conn, timetable, NOW - 31 * DAY, enabled=False, paused_at=NOW)
        await of_user(conn, timetable, NOW - 31 * DAY, dormant=True)
        return {await of_user(conn, timetable, NOW - 30 * DAY - timedelta(seconds=1)) for _ in range(5)}

    clock.freeze(NOW)
    absent = on_database(clock.url, make)
    before = set(rows(clock.url, "select id from foxtrot.schedules where dormant"))
    assert rest(clock.url) == 5
    assert set(rows(clock.url, "select id from foxtrot.schedules where dormant")) - before == {
        (each,) for each in absent
    }
    pauses = rows(
        clock.url,
        "select p.schedule_id, p.since, p.until, p.reason from foxtrot.pauses p"
        " join foxtrot.schedules s on s.id = p.schedule_id and s.bucket = p.bucket and s.user_id = p.user_id",
    )
    assert sorted(pauses) == sorted((each, NOW, None, "inactive") for each in absent)
    assert rest(clock.url) == 0


def test_a_user_who_signs_in_meanwhile_keeps_their_schedules(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        await of_user(conn, await make_timetable(conn), NOW - 31 * DAY)

    clock.freeze(NOW)
    on_database(clock.url, make)
    with holding(clock.url, "update foxtrot.users set last_seen_at = now()") as signing_in:
        assert rest(clock.url) == 0
        signing_in.commit()
    assert rest(clock.url) == 0


def test_a_user_who_signs_in_while_their_schedules_begin_to_rest_waits_and_can_wake_them(clock: Clock) -> None:
    async def make(conn: AsyncConnection) -> None:
        await of_user(conn, await make_timetable(conn), NOW - 31 * DAY)

    async def scenario(pool: AsyncConnectionPool) -> bool:
        async with connect(clock.url) as conn, pool.connection() as resting:
            await resting.execute(REST, {"inactive_after": 30 * DAY, "at_most": 2})
            signing_in = asyncio.create_task(conn.execute("update foxtrot.users set last_seen_at = now()"))
            await wait_for_lock(clock.url, conn.info.backend_pid)
            await resting.commit()
            await signing_in
            dormant = await (await conn.execute("select dormant from foxtrot.schedules")).fetchone()
            return dormant == (True,)

    clock.freeze(NOW)
    on_database(clock.url, make)
    assert scheduling(clock.url, scenario)


# Expired runs ----------------------------------------------------------------------------------------------------


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


def test_finishing_what_a_crash_left_makes_way_for_an_older_reader(clock: Clock) -> None:
    clock.freeze(NOW + 50 * DAY)
    with psycopg.connect(clock.url) as reader, ThreadPoolExecutor() as threads:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        reader.execute("select")
        with holding(clock.url, "lock table only foxtrot.runs in row exclusive mode"):
            tidy(clock.url)
        tidying = threads.submit(tidy, clock.url, Timeouts())
        wait_until(lambda: rows(clock.url, WAITING))
        assert reader.execute("select count(*) from foxtrot.runs").fetchone() == (0,)
        tidying.result()
    assert rows(clock.url, DEADLOCKS) == [(0,)]
    tidy(clock.url)
    assert rows(clock.url, "select count(*) from pg_inherits where inhdetachpending") == [(0,)]


def test_weeks_are_left_to_the_scheduler_that_is_detaching_one(clock: Clock) -> None:
    clock.freeze(NOW + 50 * DAY)
    with ThreadPoolExecutor() as threads:
        with holding(clock.url, "lock table only foxtrot.runs in row exclusive mode"):
            first = threads.submit(tidy, clock.url, Timeouts())
            wait_until(lambda: rows(clock.url, WAITING))
            with capture_logs() as logs:
                tidy(clock.url)
            assert {log["event"] for log in logs} == {"tidied"}
        first.result()
    assert weeks(clock.url)[0].startswith("runs_2031")


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
