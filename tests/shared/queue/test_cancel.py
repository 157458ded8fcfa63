from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from shared.kinds import Lane, Status
from shared.models import RunRow, Schedule, Skip, User
from shared.queue import disagreements
from tests.clock import Clock
from tests.shared.queue.support import (
    RETENTION,
    async_test,
    blocked,
    call_off,
    count,
    live,
    queue_row,
    read,
    rows_of,
    run_row,
    two,
)
from tests.support import connect, insert, make_run, make_schedule, make_timetable, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@async_test
async def test_a_pending_run_is_cancelled_at_once(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run = await make_run(conn, user)
        cancelled = await call_off(conn, run.id, user.id)
        assert cancelled is not None
        assert (cancelled.run_id, cancelled.worker_id) == (run.id, None)
        row = await read(conn, run.id)
        assert (row.status, row.attempt, row.started_at, row.errors) == (Status.CANCELLED, 0, None, [])
        assert (row.finished_at, row.expires_at) == (NOON, NOON + RETENTION)
        assert await queue_row(conn, run.id) is None


@async_test
async def test_a_running_run_is_cancelled_at_once_and_its_worker_is_named(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user, "running", worker=worker, attempt=2, started_at=NOON - HOUR)
        cancelled = await call_off(conn, run.id, user.id)
        assert cancelled is not None
        assert cancelled.worker_id == worker.id
        row = await run_row(conn, run.id)
        assert (row.status, row.attempt, row.started_at) == ("cancelled", 2, NOON - HOUR)


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
@async_test
async def test_a_final_run_stays_what_it_is(clock: Clock, status: str) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run = await make_run(conn, user, status)
        assert await call_off(conn, run.id, user.id) is None
        assert await run_row(conn, run.id) == run


@async_test
async def test_another_users_run_and_a_missing_one_are_the_same_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        ada, grace = await make_user(conn), await make_user(conn)
        run = await make_run(conn, ada)
        assert await call_off(conn, run.id, grace.id) is None
        assert await call_off(conn, uuid4(), grace.id) is None
        assert await queue_row(conn, run.id) is not None


@async_test
async def test_of_two_cancels_at_once_one_finds_nothing(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user = await make_user(one)
        run = await make_run(one, user)
        await one.commit()
        assert await call_off(one, run.id, user.id)
        waiting = await blocked(other, clock.url, call_off(other, run.id, user.id))
        await one.commit()
        assert await waiting is None


# A slot that the run had covered --------------------------------------------------------------------------------------


async def covered(conn: AsyncConnection, schedule: Schedule, run: RunRow, slot: datetime = NOON) -> None:
    """A slot of the schedule that became no run, because `run` was live."""
    values = {"schedule_id": schedule.id, "scheduled_for": slot, "bucket": run.bucket, "user_id": run.user_id}
    await insert(conn, Skip, {**values, "reason": "overlap", "run_id": run.id})


async def covering(
    conn: AsyncConnection, user: User, *, source: str = "manual", schedules: int = 1, **values: Any
) -> tuple[RunRow, list[Schedule]]:
    """A live run, and schedules that ask for the same work."""
    run = await make_run(conn, user, source=source)
    timetable = await make_timetable(conn)
    same = {"fingerprint": run.fingerprint, "parameters": {"query": "nurse"}, "subject": "decision 7"}
    return run, [await make_schedule(conn, user, timetable, **same | values) for _ in range(schedules)]


async def cron_runs(conn: AsyncConnection) -> list[RunRow]:
    return await rows_of(conn, RunRow, "select * from foxtrot.runs where source = 'cron' order by scheduled_for")


async def skips(conn: AsyncConnection) -> list[tuple[UUID, datetime, UUID]]:
    rows = await rows_of(conn, Skip, "select * from foxtrot.skips order by scheduled_for, schedule_id")
    return [(row.schedule_id, row.scheduled_for, row.run_id) for row in rows]


@async_test
async def test_a_slot_that_a_cancelled_run_had_covered_becomes_a_run_now_and_once(clock: Clock) -> None:
    clock.freeze(NOON + HOUR)
    async with connect(clock.url) as conn:
        user = await make_user(conn, org_id="acme")
        run, (schedule,) = await covering(conn, user)
        await covered(conn, schedule, run)
        assert await call_off(conn, run.id, user.id)
        (slot_run,) = await cron_runs(conn)
        row = await live(conn, slot_run.id)
        (derived,) = await rows_of(
            conn, RunRow, "select foxtrot.cron_run_id(%s, %s) as id, 0::smallint as bucket", schedule.id, NOON
        )
        assert slot_run.id == derived.id
        assert (slot_run.schedule_id, slot_run.scheduled_for) == (schedule.id, NOON)
        assert (slot_run.user_id, slot_run.org_id, slot_run.kind) == (user.id, "acme", "demo")
        assert (slot_run.subject, slot_run.parameters) == ("decision 7", {"query": "nurse"})
        assert (row.lane, row.available_at, row.max_attempts) == (Lane.CRON, NOON + HOUR, 3)
        assert row.fingerprint == slot_run.fingerprint == run.fingerprint
        assert await skips(conn) == []
        assert await disagreements(conn) == []
        assert await call_off(conn, slot_run.id, user.id)
        assert await count(conn, "queue") == 0


@async_test
async def test_of_several_slots_the_newest_becomes_the_run_that_covers_the_others(clock: Clock) -> None:
    clock.freeze(NOON + HOUR)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run, schedules = await covering(conn, user, schedules=2)
        one, other = sorted(schedules, key=lambda schedule: schedule.id)
        for schedule, slot in ((one, NOON - HOUR), (one, NOON), (other, NOON)):
            await covered(conn, schedule, run, slot)
        assert await call_off(conn, run.id, user.id)
        (slot_run,) = await cron_runs(conn)
        assert (slot_run.schedule_id, slot_run.scheduled_for) == (one.id, NOON)
        assert await skips(conn) == [(one.id, NOON - HOUR, slot_run.id), (other.id, NOON, slot_run.id)]
        assert await count(conn, "queue") == 1


@pytest.mark.parametrize(
    "values", [{"enabled": False, "paused_at": NOON}, {"dormant": True}], ids=["paused", "dormant"]
)
@async_test
async def test_a_schedule_that_rests_is_not_woken_by_a_cancel(clock: Clock, values: dict[str, Any]) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run, (schedule,) = await covering(conn, user, **values)
        await covered(conn, schedule, run)
        assert await call_off(conn, run.id, user.id)
        assert await cron_runs(conn) == []
        assert await skips(conn) == [(schedule.id, NOON, run.id)]


@async_test
async def test_a_cancelled_cron_run_takes_the_slots_it_covered_with_it(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run, (schedule,) = await covering(conn, user, source="cron")
        await covered(conn, schedule, run)
        assert await call_off(conn, run.id, user.id)
        assert await count(conn, "queue") == 0
        assert await skips(conn) == [(schedule.id, NOON, run.id)]


@async_test
async def test_a_slot_whose_schedule_asks_for_other_work_by_now_is_run_beside(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run, (schedule,) = await covering(conn, user, fingerprint=uuid4().bytes)
        await covered(conn, schedule, run)
        taken = await make_run(conn, user, fingerprint=schedule.fingerprint)
        assert await call_off(conn, run.id, user.id)
        assert await cron_runs(conn) == []
        assert await queue_row(conn, taken.id) is not None
        assert await skips(conn) == [(schedule.id, NOON, run.id)]
