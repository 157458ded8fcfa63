from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from shared.kinds import Status
from shared.models import RunRow, Skip, User
from shared.queue import disagreements, repair
from shared.queue.disagreements import REPAIRS
from tests.clock import Clock
from tests.shared.queue.support import async_test, count, queue_row, read, rows_of, take_one
from tests.support import connect, insert, make_run, make_schedule, make_timetable, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def lost(conn: AsyncConnection, user: User) -> RunRow:
    run = await make_run(conn, user)
    await conn.execute("delete from foxtrot.queue where run_id = %s", [run.id])
    return run


async def ghost(conn: AsyncConnection, user: User) -> RunRow:
    run = await make_run(conn, user)
    await conn.execute("delete from foxtrot.runs where id = %s", [run.id])
    return run


async def undead(conn: AsyncConnection, user: User) -> RunRow:
    run = await make_run(conn, user)
    await conn.execute("update foxtrot.runs set status = 'failed', finished_at = now() where id = %s", [run.id])
    return run


async def double(conn: AsyncConnection, user: User) -> RunRow:
    schedule = await make_schedule(conn, user, await make_timetable(conn))
    slot: dict[str, Any] = {"schedule_id": schedule.id, "scheduled_for": NOON}
    (derived,) = await rows_of(
        conn, RunRow, "select foxtrot.cron_run_id(%s, %s) as id, 0::smallint as bucket", schedule.id, NOON
    )
    run = await make_run(conn, user, "success", id=derived.id, **slot)
    await insert(conn, Skip, {**slot, "bucket": user.bucket, "user_id": user.id, "reason": "not_configured"})
    return run


async def orphan(conn: AsyncConnection, user: User) -> RunRow:
    worker = await make_worker(conn, lease_expires_at=NOON - MINUTE)
    return await make_run(conn, user, "running", worker=worker, updated_at=NOON - 2 * MINUTE)


@async_test
async def test_a_healthy_database_disagrees_about_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        for status in Status:
            await make_run(conn, user, status)
        died = await make_worker(conn, lease_expires_at=NOON - MINUTE + timedelta(seconds=1))
        for worker in (died, await make_worker(conn)):
            await make_run(conn, user, "running", worker=worker, updated_at=NOON - 9 * MINUTE)
        assert await disagreements(conn) == []
        assert await repair(conn) == []


@async_test
async def test_every_fault_is_found_and_has_a_remedy(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        made = {make.__name__: (await make(conn, user)).id for make in (lost, ghost, undead, double, orphan)}
        found = await disagreements(conn)
        assert {one.fault: one.run_id for one in found} == made
        assert made.keys() == REPAIRS.keys()
        assert all(one.what and one.remedy for one in found)
        assert await disagreements(conn, at_most=2) == found[:2]


@async_test
async def test_repair_mends_all_but_orphans_and_writes_it_down(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        made = {make.__name__: (await make(conn, user)).id for make in (lost, ghost, undead, double, orphan)}
        before = await count(conn, "audit_log")
        mends = {mend.run_id: mend.action for mend in await repair(conn)}
        assert mends == {
            made["lost"]: "put back into the queue",
            made["ghost"]: "deleted from the queue",
            made["undead"]: "deleted from the queue",
            made["double"]: "deleted the skip beside the run",
        }
        assert await count(conn, "audit_log") == before + 4
        assert [one.fault for one in await disagreements(conn)] == ["orphan"]
        assert await queue_row(conn, made["undead"]) is None
        assert (await read(conn, made["undead"])).status is Status.FAILED
        claimed = await take_one(conn, await make_worker(conn))
        assert claimed.run_id == made["lost"]
        assert claimed.attempt > 1000
