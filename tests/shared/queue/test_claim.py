from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from shared.kinds import Lane
from shared.models import RunRow, User
from shared.queue import leave, mark_stopping
from tests.clock import Clock
from tests.shared.queue.support import async_test, ids, live, run_row, take, take_one
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SOURCES = ("manual", "cron", "backfill")


async def due(conn: AsyncConnection, user: User, n: int = 1, source: str = "manual", **values: Any) -> list[UUID]:
    """`n` runs in the order in which they are to be claimed, the last due at noon."""
    runs = [
        await make_run(conn, user, source=source, available_at=NOON - place * MINUTE, **values)
        for place in reversed(range(n))
    ]
    return [run.id for run in runs]


@async_test
async def test_a_claim_hands_over_the_run_and_marks_it_running(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn, org_id="acme"), await make_worker(conn)
        schedule_id, slot = uuid4(), NOON - MINUTE
        run = await make_run(
            conn,
            user,
            source="cron",
            available_at=slot,
            waiting="spread",
            parameters={"query": "nurse"},
            client_context={"tab": 1},
            subject="decision 7",
            schedule_id=schedule_id,
            scheduled_for=slot,
        )
        claimed = await take_one(conn, worker)
        row = await live(conn, run.id)
    assert (claimed.run_id, claimed.bucket, claimed.lane, claimed.available_at) == (run.id, user.bucket, 1, slot)
    assert (claimed.attempt, claimed.max_attempts, claimed.rescues, claimed.started_at) == (1, 3, 0, NOON)
    assert (claimed.user_id, claimed.org_id, claimed.kind, claimed.subject) == (user.id, "acme", "demo", "decision 7")
    assert (claimed.source, claimed.parameters, claimed.client_context) == ("cron", {"query": "nurse"}, {"tab": 1})
    assert (claimed.fingerprint, claimed.schedule_id, claimed.scheduled_for) == (run.fingerprint, schedule_id, slot)
    assert (row.worker_id, row.attempt, row.started_at, row.waiting) == (worker.id, 1, NOON, None)


@async_test
async def test_another_attempt_counts_up_and_keeps_the_first_start(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user, attempt=4, started_at=NOON - MINUTE, waiting="retry", detail="no answer", percent=3)
        claimed = await take_one(conn, worker)
        row = await live(conn, claimed.run_id)
    assert (claimed.attempt, claimed.started_at) == (5, NOON - MINUTE)
    assert (row.detail, row.percent, row.waiting) == (None, None, None)


# What is claimed, and in which order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("free", [0, 1, 4, 100])
@async_test
async def test_never_more_than_are_free(clock: Clock, free: int) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        for source in SOURCES:
            for kind in ("demo", "other"):
                await due(conn, user, 3, source, kind=kind)
        claimed = await take(conn, worker, {"demo": 100, "other": 100}, free=free)
        assert len(claimed) == min(free, 18)


@async_test
async def test_manual_before_cron_before_backfill_each_oldest_first(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        backfill, cron, manual = [await due(conn, user, 2, source) for source in reversed(SOURCES)]
        order = manual + cron + backfill
        assert ids(await take(conn, worker)) == order
    for free in range(1, 6):
        async with connect(clock.url) as conn:
            await conn.execute("update foxtrot.queue set worker_id = null")
            assert ids(await take(conn, worker, free=free)) == order[:free]
            await conn.rollback()


@async_test
async def test_kinds_are_merged_by_time_and_then_by_id(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        runs: list[RunRow] = []
        for place in range(8):
            at = NOON - MINUTE * (place // 3)
            runs.append(await make_run(conn, user, kind=("demo", "other")[place % 2], available_at=at))
        order = sorted(runs, key=lambda run: (NOON - MINUTE * (runs.index(run) // 3), run.id))
        claimed = await take(conn, worker, {"demo": 9, "other": 9}, free=5)
        assert ids(claimed) == [run.id for run in order[:5]]


@async_test
async def test_cron_and_backfill_share_a_cap(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        manual, cron, backfill = [await due(conn, user, 2, source) for source in SOURCES]
        claimed = await take(conn, worker, free=10, cron_cap=3)
        assert ids(claimed) == manual + cron + backfill[:1]
        assert await take(conn, worker, free=10, cron_cap=0) == []


@async_test
async def test_the_floor_gives_cron_its_turn_before_manual(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        manual, cron = await due(conn, user, 5), await due(conn, user, 3, "cron")
        assert ids(await take(conn, worker, free=3, cron_floor=1)) == manual[:2] + cron[:1]
        assert ids(await take(conn, worker, free=2, cron_floor=5, cron_cap=1)) == manual[2:3] + cron[1:2]


@async_test
async def test_the_floor_leaves_nothing_free_when_no_cron_is_due(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        manual = await due(conn, user, 5)
        assert ids(await take(conn, worker, free=3, cron_floor=2)) == manual[:3]


@async_test
async def test_the_limit_of_a_kind_does_not_take_the_floor_from_its_cron_runs(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        manual, cron = await due(conn, user, 5), await due(conn, user, 3, "cron")
        assert ids(await take(conn, worker, {"demo": 3}, free=9, cron_floor=1)) == manual[:2] + cron[:1]


@async_test
async def test_each_kind_has_a_limit_and_unknown_kinds_wait(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        demo, other, _ = [await due(conn, user, 3, kind=kind) for kind in ("demo", "other", "unknown")]
        cron = await due(conn, user, 3, "cron", kind="other")
        claimed = await take(conn, worker, {"demo": 1, "other": 4}, free=10)
        assert sorted(ids(claimed)) == sorted(demo[:1] + other + cron[:1])
        assert await take(conn, worker, {}, free=10) == []


@async_test
async def test_what_is_not_due_yet_waits(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn, lease_expires_at=NOON + 2 * MINUTE)
        await make_run(conn, user, available_at=NOON + MINUTE)
        assert await take(conn, worker) == []
        await conn.commit()
        clock.advance(MINUTE)
        assert len(await take(conn, worker)) == 1


# Runs that were rescued twice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suspects", [0, 1, 2])
@async_test
async def test_only_so_many_runs_that_were_rescued_twice(clock: Clock, suspects: int) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        good = await due(conn, user, 2, rescues=1)
        bad = await due(conn, user, 3, "cron", rescues=2)
        assert ids(await take(conn, worker, suspects=suspects)) == good + bad[:suspects]


@async_test
async def test_runs_behind_suspects_are_not_held_up_by_them(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        good = await due(conn, user, 3)
        bad = [await make_run(conn, user, available_at=NOON - 9 * MINUTE, rescues=2) for _ in range(5)]
        assert ids(await take(conn, worker, free=3, suspects=1)) == [min(run.id for run in bad)]
        assert ids(await take(conn, worker, free=2, suspects=0)) == good[:2]


# Who may claim -------------------------------------------------------------------------------------------------------


@async_test
async def test_an_expired_lease_takes_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn, lease_expires_at=NOON)
        await due(conn, user)
        assert await take(conn, worker) == []


@async_test
async def test_a_worker_that_stops_takes_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await due(conn, user)
        await mark_stopping(conn, worker.id)
        assert await take(conn, worker) == []


@async_test
async def test_a_worker_that_left_takes_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await due(conn, user)
        await leave(conn, worker.id)
        assert await take(conn, worker) == []


# Watermarks ----------------------------------------------------------------------------------------------------------


@async_test
async def test_a_watermark_passes_over_what_comes_before_it(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        cron = [await make_run(conn, user, source="cron", available_at=NOON) for _ in range(3)]
        first, second, third = sorted(run.id for run in cron)
        mark = {(Lane.CRON, "demo"): (NOON, second)}
        assert ids(await take(conn, worker, watermarks=mark)) == [third]
        assert ids(await take(conn, worker)) == [first, second]


@async_test
async def test_a_watermark_is_of_one_lane_and_kind(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        manual = await due(conn, user)
        await due(conn, user, 1, "cron")
        other = await due(conn, user, 1, "cron", kind="other")
        mark = {(Lane.CRON, "demo"): (NOON, UUID(int=2**128 - 1))}
        claimed = await take(conn, worker, {"demo": 9, "other": 9}, watermarks=mark)
        assert ids(claimed) == manual + other


@async_test
async def test_a_claim_changes_nothing_in_runs(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user)
        await take_one(conn, worker)
        assert await run_row(conn, run.id) == run
