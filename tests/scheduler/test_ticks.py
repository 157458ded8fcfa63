from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from structlog.testing import capture_logs

from scheduler.ticks import Advanced, advance
from shared.cron import next_slots, tzdata_version
from shared.models import Tick, Timetable
from tests.clock import Clock
from tests.scheduler.support import holding, on_database, rows
from tests.support import make_tick, make_timetable

AT = datetime(2031, 3, 30, 8, 0, 1, tzinfo=UTC)
EIGHT = AT.replace(second=0)
MONTH = timedelta(days=30)


def make(url: str, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    return on_database(url, work)


def advance_over(url: str, at_most: int = 500) -> Advanced:
    return on_database(url, lambda conn: advance(conn, MONTH, at_most))


def ticks(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "select scheduled_for, newest from foxtrot.ticks order by scheduled_for")


def next_slot(url: str) -> Any:
    ((slot,),) = rows(url, "select next_slot from foxtrot.timetables")
    return slot


def test_a_due_timetable_moves_on_and_its_slot_becomes_a_tick(clock: Clock) -> None:
    clock.freeze(AT)
    make(clock.url, lambda conn: make_timetable(conn, next_slot=EIGHT))
    assert advance_over(clock.url) == Advanced(timetables=1, ticks=1, more=False)
    assert ticks(clock.url) == [(EIGHT, True)]
    assert next_slot(clock.url) == EIGHT + timedelta(days=1)
    assert rows(clock.url, "select tzdata from foxtrot.timetables") == [(tzdata_version(),)]
    assert advance_over(clock.url) == Advanced(timetables=0, ticks=0, more=False)


def test_a_slot_is_due_at_its_instant_and_not_before(clock: Clock) -> None:
    clock.freeze(EIGHT - timedelta(microseconds=1))
    make(clock.url, lambda conn: make_timetable(conn, next_slot=EIGHT))
    assert advance_over(clock.url).ticks == 0
    clock.freeze(EIGHT)
    assert advance_over(clock.url).ticks == 1


def test_many_due_timetables_are_advanced_in_bounded_batches(clock: Clock) -> None:
    async def make_three(conn: AsyncConnection) -> None:
        for minute in range(3):
            await make_timetable(conn, crons=[f"{minute} 8 * * *"], next_slot=EIGHT - timedelta(days=1))

    clock.freeze(EIGHT - timedelta(hours=1))
    make(clock.url, make_three)
    assert advance_over(clock.url, at_most=2) == Advanced(timetables=2, ticks=2, more=True)
    assert advance_over(clock.url, at_most=2) == Advanced(timetables=1, ticks=1, more=False)


def test_after_an_outage_every_slot_becomes_a_tick_and_only_the_last_is_the_newest(clock: Clock) -> None:
    clock.freeze(AT)
    first = EIGHT - timedelta(hours=3)
    make(clock.url, lambda conn: make_timetable(conn, crons=["30 * * * *", "0 * * * *"], next_slot=first))
    advance_over(clock.url)
    halves = [first + n * timedelta(minutes=30) for n in range(7)]
    assert ticks(clock.url) == [(slot, slot == EIGHT) for slot in halves]


def test_after_months_only_the_last_hundred_slots_become_ticks(clock: Clock) -> None:
    clock.freeze(AT)
    crons = ["0 5 * * *", "*/5 6 * * *"]
    make(clock.url, lambda conn: make_timetable(conn, crons=crons, next_slot=EIGHT - timedelta(days=400)))
    advance_over(clock.url)
    since = next_slots(crons, "UTC", EIGHT - timedelta(days=20), 1000)
    assert [slot for slot, _ in ticks(clock.url)] == [slot for slot in since if slot <= AT][-100:]
    assert next_slot(clock.url) == datetime(2031, 3, 31, 5, tzinfo=UTC)


def test_a_slot_older_than_what_is_kept_becomes_no_tick(clock: Clock) -> None:
    clock.freeze(AT)
    make(clock.url, lambda conn: make_timetable(conn, crons=["0 8 * * 1"], next_slot=EIGHT - timedelta(days=69)))
    advance_over(clock.url)
    assert [slot for slot, _ in ticks(clock.url)] == [EIGHT - timedelta(days=days) for days in (27, 20, 13, 6)]


def test_a_timetable_that_a_schedule_is_joining_waits_for_the_next_pass(clock: Clock) -> None:
    clock.freeze(AT)
    make(clock.url, lambda conn: make_timetable(conn, next_slot=EIGHT))
    with holding(clock.url, "select from foxtrot.timetables for key share") as joining:
        assert advance_over(clock.url).ticks == 0
        joining.commit()
    assert advance_over(clock.url).ticks == 1


def test_a_broken_timetable_is_said_and_stops_no_other(clock: Clock) -> None:
    async def make_both(conn: AsyncConnection) -> Timetable:
        await make_timetable(conn, next_slot=EIGHT)
        return await make_timetable(conn, zone="Europe/Atlantis", next_slot=EIGHT - timedelta(days=1))

    clock.freeze(AT)
    broken = make(clock.url, make_both)
    with capture_logs() as logs:
        assert advance_over(clock.url).ticks == 1
    assert [(log["event"], log["timetable_id"]) for log in logs] == [("timetable_broken", str(broken.id))]


def test_a_timetable_computed_with_newer_tzdata_is_left_alone(clock: Clock) -> None:
    clock.freeze(AT)
    make(clock.url, lambda conn: make_timetable(conn, next_slot=EIGHT, tzdata="9999a"))
    assert advance_over(clock.url).ticks == 0
    assert next_slot(clock.url) == EIGHT


def test_a_clock_set_back_or_forward_makes_no_second_tick(clock: Clock) -> None:
    clock.freeze(AT)
    make(clock.url, lambda conn: make_timetable(conn, crons=["0 * * * *"], next_slot=EIGHT))
    for hours in (0, 2, -2, 1, 1, 1):
        clock.advance(timedelta(hours=hours))
        advance_over(clock.url)
    assert [slot for slot, _ in ticks(clock.url)] == [EIGHT + n * timedelta(hours=1) for n in range(4)]


def test_a_tick_that_is_there_already_stays_as_it_is(clock: Clock) -> None:
    async def make_tick_of_the_slot(conn: AsyncConnection) -> Tick:
        return await make_tick(conn, await make_timetable(conn, next_slot=EIGHT), runs=7)

    clock.freeze(AT)
    make(clock.url, make_tick_of_the_slot)
    assert advance_over(clock.url).ticks == 0
    assert rows(clock.url, "select runs, newest from foxtrot.ticks") == [(7, True)]
