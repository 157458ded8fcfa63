import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from structlog.testing import capture_logs

from scheduler.expansion import Chunk, Expansion
from scheduler.ticks import advance
from shared.models import Schedule, Tick
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
    slots,
    subscribe,
    wish,
)
from tests.support import connect, insert, make_schedule, make_tick, make_timetable, make_user, wait_for_lock

SLOT = datetime(2031, 3, 30, 8, tzinfo=UTC)
RUNS = "select schedule_id from foxtrot.runs order by schedule_id"
TICKS = "select through, finished_at is not null from foxtrot.ticks order by through"
WHOLE = UUID(int=2**128 - 1)
HOLD = """
insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
select gen_random_uuid(), bucket, user_id, kind, fingerprint, 0, now(), 3 from foxtrot.schedules where id = %s
"""

REFUSE = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '22000'; end $$;
create trigger refuse before insert on foxtrot.queue for each row when (new.user_id = '{}') execute function refuse()
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
    assert rows(clock.url, "select from foxtrot.ticks where finished_at is null") == []


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
        assert rows(clock.url, TICKS) == [(schedule.id, False), (WHOLE, True)]
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


# Several ticks at once ------------------------------------------------------------------------------------------------


async def make_ticks(conn: AsyncConnection, ticks: int, schedules: int) -> list[list[Schedule]]:
    """Ticks of one slot in the order in which they are taken, and the schedules of each."""
    made = []
    for number in range(ticks):
        timetable = await make_timetable(conn, id=UUID(int=number), crons=[f"{number} 7 * * *"], next_slot=SLOT)
        made.append(await subscribe(conn, timetable, schedules))
        await make_tick(conn, timetable)
    return made


def seen(chunks: list[Chunk]) -> list[int]:
    return [chunk.expanded.seen for chunk in chunks if chunk.expanded]


def test_a_chunk_takes_as_many_small_ticks_as_fill_it(clock: Clock) -> None:
    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: make_ticks(conn, 13, 2))
    chunks = scheduling(clock.url, lambda pool: expand_all(pool, chunk=10))
    assert seen(chunks) == [2, 10, 8, 6]  # after a full chunk nobody knows yet that its last tick has no more
    assert [count for *_, count in settled(clock.url)] == [1] * 26


def test_a_schedule_that_is_held_in_one_of_several_ticks_delays_only_itself(clock: Clock) -> None:
    clock.freeze(SLOT)
    made = on_database(clock.url, lambda conn: make_ticks(conn, 6, 3))
    held = made[3][1]
    with holding(clock.url, HOLD, held.id), capture_logs() as logs:
        scheduling(clock.url, lambda pool: expand_all(pool, chunk=10_000))
        assert set(runs(clock.url)) == {schedule.id for each in made for schedule in each} - {held.id}
        assert rows(clock.url, "select through from foxtrot.ticks where finished_at is null and held") == [(held.id,)]
        assert [log["through"] for log in logs if log["event"] == "schedule_held"] == [str(held.id)]
    scheduling(clock.url, expand_all)
    assert len(runs(clock.url)) == 18


def test_what_is_held_comes_after_what_is_not_and_alone(clock: Clock) -> None:
    async def more(conn: AsyncConnection) -> None:
        for number in range(6, 12):
            timetable = await make_timetable(conn, crons=[f"{number} 7 * * *"], next_slot=SLOT + timedelta(minutes=1))
            await subscribe(conn, timetable, 1)
            await make_tick(conn, timetable)

    clock.freeze(SLOT + timedelta(minutes=1))
    made = on_database(clock.url, lambda conn: make_ticks(conn, 2, 1))
    both = (schedule for (schedule,) in made)
    with holding(clock.url, f"{HOLD} or id = %s", *(schedule.id for schedule in both)):
        scheduling(clock.url, expand_all)
        assert runs(clock.url) == []
        on_database(clock.url, more)
        chunks = scheduling(clock.url, lambda pool: expand_all(pool, chunk=10_000))
    assert [(len(chunk.ticks), chunk.error is None) for chunk in chunks] == [
        (1, True),
        (5, True),
        (1, False),
        (1, False),
    ]
    assert len(runs(clock.url)) == 6


def test_of_several_ticks_the_one_that_cannot_be_expanded_is_said_and_stops_no_other(clock: Clock) -> None:
    async def one_is_refused(conn: AsyncConnection) -> list[list[Schedule]]:
        made = await make_ticks(conn, 5, 2)
        await conn.execute(REFUSE.format(made[3][1].user_id).encode())
        del made[3]
        return made

    clock.freeze(SLOT)
    made = on_database(clock.url, one_is_refused)
    with capture_logs() as logs:
        scheduling(clock.url, lambda pool: expand_all(pool, chunk=10_000))
    assert set(runs(clock.url)) == {schedule.id for each in made for schedule in each}
    assert [(log["event"], log["timetable_id"]) for log in logs] == [("expand_failed", str(UUID(int=3)))]


def test_two_rows_of_a_tick_are_never_in_one_chunk(clock: Clock) -> None:
    async def twice_in_one_tick(conn: AsyncConnection) -> None:
        made = await make_ticks(conn, 3, 1)
        (last,) = made[2]
        values = {"timetable_id": last.timetable_id, "scheduled_for": SLOT, "newest": True}
        await insert(conn, Tick, values | {"through": last.id, "cursor": UUID(int=last.id.int - 1)})

    clock.freeze(SLOT)
    on_database(clock.url, twice_in_one_tick)
    chunks = scheduling(clock.url, lambda pool: expand_all(pool, chunk=10_000))
    assert [(len(chunk.ticks), chunk.error) for chunk in chunks] == [(1, None), (2, None), (1, None)]
    assert [count for *_, count in settled(clock.url)] == [1] * 3


def test_a_row_that_has_only_the_schedule_that_is_held_waits_as_it_is(clock: Clock) -> None:
    async def joined(conn: AsyncConnection) -> Schedule:
        (schedule,) = await due(conn, 1)
        await conn.execute("update foxtrot.ticks set through = %s", [schedule.id])
        return schedule

    clock.freeze(SLOT)
    schedule = on_database(clock.url, joined)
    with holding(clock.url, HOLD, schedule.id):
        scheduling(clock.url, expand_all)
        assert rows(clock.url, "select through, held, finished_at from foxtrot.ticks") == [(schedule.id, True, None)]


# A tick that schedulers share -----------------------------------------------------------------------------------------

PARTS = "select cursor, through from foxtrot.ticks where finished_at is null order by through"


async def evenly_due(conn: AsyncConnection, schedules: int) -> list[Schedule]:
    """As `due`, with ids that lie as far apart as random ones do on the average."""
    timetable = await make_timetable(conn, crons=["*/5 8 * * *"], next_slot=SLOT)
    await make_tick(conn, timetable, created_at=SLOT + timedelta(seconds=1))
    step = 2**128 // schedules
    return [
        await make_schedule(conn, await make_user(conn), timetable, id=UUID(int=number * step + step // 2))
        for number in range(schedules)
    ]


async def one_chunk(pool: AsyncConnectionPool, chunk: int = 5) -> Chunk | None:
    return await Expansion(pool, settings(expand_chunk=chunk), REGISTRY).expand_once()


def test_after_its_first_chunk_a_big_tick_is_split_so_that_schedulers_share_it(clock: Clock) -> None:
    clock.freeze(SLOT)
    schedules = on_database(clock.url, lambda conn: evenly_due(conn, 60))
    scheduling(clock.url, one_chunk)
    parts = rows(clock.url, PARTS)
    assert parts[0][0] == schedules[4].id
    assert [cursor for cursor, _ in parts[1:]] == [through for _, through in parts[:-1]]
    assert len(parts) == 7
    assert parts[-1][1] == WHOLE
    assert rows(clock.url, "select distinct newest, created_at from foxtrot.ticks") == [
        (True, SLOT + timedelta(seconds=1))
    ]
    another = "select from foxtrot.ticks where through = %s for update"
    with holding(clock.url, another, parts[2][1]):
        scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
        of_another = [schedule.id for schedule in schedules if parts[2][0] < schedule.id <= parts[2][1]]
        assert runs(clock.url) == [schedule.id for schedule in schedules if schedule.id not in of_another]
        assert rows(clock.url, PARTS) == [parts[2]]
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    assert runs(clock.url) == ids(schedules)
    assert rows(clock.url, "select count(*), sum(runs) from foxtrot.ticks where finished_at is not null") == [(7, 60)]


@pytest.mark.parametrize("schedules", [5, 9])
def test_a_tick_with_no_more_than_another_chunk_is_not_split(clock: Clock, schedules: int) -> None:
    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: evenly_due(conn, schedules))
    scheduling(clock.url, one_chunk)
    assert len(rows(clock.url, PARTS)) == 1


def test_a_part_of_a_tick_is_not_split_again(clock: Clock) -> None:
    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: evenly_due(conn, 60))
    scheduling(clock.url, one_chunk)
    parts = rows(clock.url, "select through from foxtrot.ticks")
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=2))
    assert rows(clock.url, "select through from foxtrot.ticks") == parts


def test_a_big_tick_is_split_when_a_chunk_of_several_ticks_came_upon_it(clock: Clock) -> None:
    async def small_ones_and_a_big_one(conn: AsyncConnection) -> None:
        await make_ticks(conn, 3, 1)
        await evenly_due(conn, 60)

    clock.freeze(SLOT)
    on_database(clock.url, small_ones_and_a_big_one)
    chunks = scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    assert any(len(chunk.ticks) > 1 for chunk in chunks)
    assert rows(clock.url, "select count(*) > 3 from foxtrot.ticks where through <> %s", WHOLE) == [(True,)]
    assert len(runs(clock.url)) == 63


def test_a_schedule_that_is_held_in_a_part_of_a_tick_delays_only_itself(clock: Clock) -> None:
    clock.freeze(SLOT)
    schedules = on_database(clock.url, lambda conn: evenly_due(conn, 60))
    scheduling(clock.url, one_chunk)
    held = schedules[23]
    with holding(clock.url, HOLD, held.id):
        scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
        assert runs(clock.url) == [schedule.id for schedule in schedules if schedule != held]
        assert rows(clock.url, "select through from foxtrot.ticks where finished_at is null and held") == [(held.id,)]
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    assert runs(clock.url) == ids(schedules)


def test_what_is_split_is_missed_when_a_later_slot_comes_whoever_is_at_a_part(clock: Clock) -> None:
    async def later_slot(conn: AsyncConnection) -> None:
        assert (await advance(conn, timedelta(days=30))).ticks == 1

    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: evenly_due(conn, 60))
    rows(clock.url, "update foxtrot.timetables set next_slot = %s returning 1", SLOT + timedelta(minutes=5))
    scheduling(clock.url, one_chunk)
    clock.freeze(SLOT + timedelta(minutes=5))
    with holding(clock.url, "select from foxtrot.ticks for update"):  # as another scheduler at its chunk does
        on_database(clock.url, later_slot)
    end_runs(clock.url)
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    made = rows(clock.url, "select scheduled_for, count(*)::int from foxtrot.runs group by 1 order by 1")
    assert made == [(SLOT, 5), (SLOT + timedelta(minutes=5), 60)]
    assert rows(clock.url, "select sum(missed) from foxtrot.ticks") == [(55,)]


# Schedules that join a tick that is split -----------------------------------------------------------------------------


def test_schedules_made_in_transactions_that_span_the_slot_join_the_parts_of_its_tick(clock: Clock) -> None:
    async def join(conn: AsyncConnection) -> list[UUID]:
        return [await wish(conn, ["*/5 8 * * *"], "UTC") for _ in range(20)]

    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: evenly_due(conn, 60))
    scheduling(clock.url, one_chunk)
    scheduling(clock.url, one_chunk)
    clock.freeze(SLOT - timedelta(minutes=1))  # when those transactions began
    users = on_database(clock.url, join)
    clock.freeze(SLOT)
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    assert [count for *_, count in settled(clock.url)] == [1] * 80
    assert [slots(clock.url, user_id) for user_id in users] == [[SLOT]] * 20


def test_a_schedule_that_waits_for_a_tick_while_it_is_split_has_its_slot_once(clock: Clock) -> None:
    async def scenario(pool: AsyncConnectionPool) -> UUID:
        async with pool.connection() as expanding, connect(clock.url) as joining:
            expansion = Expansion(pool, settings(expand_chunk=5), REGISTRY)
            assert await expansion._expand_next(expanding)  # noqa: SLF001 - what joins comes before its commit
            clock.freeze(SLOT - timedelta(minutes=1))
            join = asyncio.create_task(wish(joining, ["*/5 8 * * *"], "UTC"))
            await wait_for_lock(clock.url, joining.info.backend_pid)
            await expanding.commit()
            return await join

    clock.freeze(SLOT)
    on_database(clock.url, lambda conn: evenly_due(conn, 60))
    user_id = scheduling(clock.url, scenario)
    clock.freeze(SLOT)
    scheduling(clock.url, lambda pool: expand_all(pool, chunk=5))
    assert [count for *_, count in settled(clock.url)] == [1] * 61
    assert slots(clock.url, user_id) == [SLOT]
