import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from structlog.testing import capture_logs

from scheduler.expansion import Chunk, Expansion, Stride
from shared.models import Schedule
from tests.clock import Clock
from tests.scheduler.support import (
    REGISTRY,
    end_runs,
    holding,
    on_database,
    rows,
    scheduling,
    settings,
    settled,
    subscribe,
)
from tests.support import make_tick, make_timetable

SLOT = datetime(2031, 3, 30, 8, tzinfo=UTC)
RUNS = "select schedule_id from foxtrot.runs order by schedule_id"
TICKS = "select through, finished_at is not null from foxtrot.ticks order by through"
WHOLE = UUID(int=2**128 - 1)
HOLD = """
insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
select gen_random_uuid(), bucket, user_id, kind, fingerprint, 0, now(), 3 from foxtrot.schedules where id = %s
"""


async def due(conn: AsyncConnection, schedules: int) -> list[Schedule]:
    timetable = await make_timetable(conn, next_slot=SLOT)
    made = await subscribe(conn, timetable, schedules)
    await make_tick(conn, timetable)
    return made


async def expand_all(pool: AsyncConnectionPool, chunk: int = 3) -> list[Chunk]:
    expansion = Expansion(pool, settings(expand_chunk=chunk), REGISTRY)
    chunks: list[Chunk] = []
    while taken := await expansion.expand_once():
        chunks.append(taken)
    return chunks


def runs(url: str) -> list[UUID]:
    return [schedule_id for (schedule_id,) in rows(url, RUNS)]


def ids(schedules: Sequence[Schedule]) -> list[UUID]:
    return [schedule.id for schedule in schedules]


def test_a_crash_between_two_chunks_loses_nothing_and_doubles_nothing(clock: Clock) -> None:
    clock.freeze(SLOT)
    schedules = on_database(clock.url, lambda conn: due(conn, 8))

    async def one_chunk(pool: AsyncConnectionPool) -> None:
        await Expansion(pool, settings(expand_chunk=3), REGISTRY).expand_once()

    scheduling(clock.url, one_chunk)
    assert runs(clock.url) == ids(schedules[:3])
    scheduling(clock.url, expand_all)
    assert runs(clock.url) == ids(schedules)
    assert rows(clock.url, TICKS) == [(WHOLE, True)]


def test_a_chunk_that_was_not_committed_is_taken_again(clock: Clock) -> None:
    async def crash(pool: AsyncConnectionPool) -> None:
        expansion = Expansion(pool, settings(), REGISTRY)
        async with pool.connection() as conn:
            chunk = await expansion._expand_next(conn)  # noqa: SLF001 - the crash comes before its commit
            assert chunk is not None
            assert chunk.expanded is not None
            assert chunk.expanded.runs == 2
            await conn.rollback()

    clock.freeze(SLOT)
    schedules = on_database(clock.url, lambda conn: due(conn, 2))
    scheduling(clock.url, crash)
    assert runs(clock.url) == []
    scheduling(clock.url, expand_all)
    assert runs(clock.url) == ids(schedules)


def test_a_tick_that_another_scheduler_is_at_is_passed_by(clock: Clock) -> None:
    async def two_ticks(conn: AsyncConnection) -> list[Schedule]:
        await due(conn, 1)
        timetable = await make_timetable(conn, crons=["1 8 * * *"], next_slot=SLOT + timedelta(minutes=1))
        await make_tick(conn, timetable)
        return await subscribe(conn, timetable, 1)

    clock.freeze(SLOT + timedelta(minutes=1))
    others = on_database(clock.url, two_ticks)
    at_it = "select from foxtrot.ticks where scheduled_for = %s for update"
    with holding(clock.url, at_it, SLOT), capture_logs() as logs:
        scheduling(clock.url, expand_all)
        assert runs(clock.url) == ids(others)
    assert logs == []  # nothing waited


def test_two_schedulers_share_the_ticks(clock: Clock) -> None:
    async def make_ticks(conn: AsyncConnection) -> None:
        for minute in range(4):
            timetable = await make_timetable(
                conn, crons=[f"{minute} 7 * * *"], next_slot=SLOT - timedelta(minutes=minute)
            )
            await subscribe(conn, timetable, 10)
            await make_tick(conn, timetable)

    async def both(pool: AsyncConnectionPool) -> tuple[list[Chunk], list[Chunk]]:
        return await asyncio.gather(expand_all(pool), expand_all(pool))

    clock.freeze(SLOT)
    on_database(clock.url, make_ticks)
    taken = scheduling(clock.url, both)
    assert all(taken)
    assert [count for *_, count in settled(clock.url)] == [1] * 40


def test_an_open_transaction_holds_up_its_own_user_alone(clock: Clock) -> None:
    clock.freeze(SLOT)
    schedules = on_database(clock.url, lambda conn: due(conn, 12))
    held = schedules[4]
    with holding(clock.url, HOLD, held.id) as transaction, capture_logs() as logs:
        scheduling(clock.url, lambda pool: expand_all(pool, chunk=10_000))
        assert runs(clock.url) == [schedule.id for schedule in schedules if schedule != held]
        assert rows(clock.url, TICKS) == [(held.id, False), (WHOLE, True)]
        assert [log["through"] for log in logs if log["event"] == "schedule_held"] == [str(held.id)]
        transaction.rollback()
    scheduling(clock.url, expand_all)
    assert runs(clock.url) == ids(schedules)
    assert rows(clock.url, TICKS) == [(held.id, True), (WHOLE, True)]


def test_a_place_that_was_taken_after_all_becomes_a_skip(clock: Clock) -> None:
    clock.freeze(SLOT)
    (schedule,) = on_database(clock.url, lambda conn: due(conn, 1))
    with holding(clock.url, HOLD, schedule.id) as transaction:
        scheduling(clock.url, expand_all)
        assert rows(clock.url, TICKS) == [(WHOLE, False)]
        transaction.commit()
    scheduling(clock.url, expand_all)
    (cover,) = rows(clock.url, "select run_id from foxtrot.queue")
    assert rows(clock.url, "select run_id, reason from foxtrot.skips") == [(*cover, "overlap")]


def test_a_tick_that_cannot_be_expanded_is_said_and_stops_no_other(clock: Clock) -> None:
    async def with_one_of_a_missing_week(conn: AsyncConnection) -> list[Schedule]:
        timetable = await make_timetable(conn, crons=["0 1 * * *"], next_slot=SLOT - timedelta(days=300))
        await subscribe(conn, timetable, 1, catch_up="all")
        await make_tick(conn, timetable)
        return await due(conn, 2)

    clock.freeze(SLOT)
    schedules = on_database(clock.url, with_one_of_a_missing_week)
    with capture_logs() as logs:
        scheduling(clock.url, expand_all)
    assert runs(clock.url) == ids(schedules)
    assert [log["event"] for log in logs] == ["expand_failed"]


def test_expanding_again_after_all_runs_ended_adds_nothing(clock: Clock) -> None:
    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: due(conn, 5))
    scheduling(clock.url, expand_all)
    end_runs(clock.url)
    rows(clock.url, "update foxtrot.ticks set finished_at = null, cursor = %s returning 1", UUID(int=0))
    scheduling(clock.url, expand_all)
    assert [count for *_, count in settled(clock.url)] == [1] * 5
    assert rows(clock.url, "select from foxtrot.queue") == []


def test_chunks_are_full_again_after_the_stretch_in_which_one_was_held(clock: Clock) -> None:
    async def seen(pool: AsyncConnectionPool) -> list[int]:
        expansion = Expansion(pool, settings(), REGISTRY)
        expansion.stride.stretch = 3
        chunks = [await expansion.expand_once() for _ in range(4)]
        return [chunk.expanded.seen for chunk in chunks if chunk and chunk.expanded]

    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: due(conn, 8))
    assert scheduling(clock.url, seen) == [1, 1, 1, 5]


@pytest.mark.parametrize("held_at", [0, 1, 776, 9_999])
def test_the_stretch_that_is_held_narrows_to_one(held_at: int) -> None:
    stride, position, held, chunks = Stride(10_000), 0, 0, 0
    while (size := stride.size) > 1 or position != held_at:
        chunks += 1
        if position <= held_at < position + size:
            stride.stretch = size
            held += 1
        else:
            stride.passed()
            position += size
    assert held <= 4
    assert chunks <= 100
    stride.stretch = 0
    assert stride.size == 10_000
