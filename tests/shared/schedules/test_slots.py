from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from scheduler.service import pass_once
from scheduler.ticks import advance
from shared.kinds import Registry
from shared.models import User
from shared.schedules import Slot, read_slots, wake_schedules
from shared.users import act_as
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, end_runs, on_database, pass_over, rows, scheduling, settings
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    KEEP,
    as_user,
    changed,
    edit,
    fall_asleep,
    new_user,
    pause,
    put,
    refuses_others,
    resume,
    table,
)

HOURLY = changed(DAILY, crons=["0 * * * *"])


def given(clock: Clock, **values: Any) -> User:
    """Somebody with an hourly schedule since 7:30."""
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user, changed(HOURLY, **values))
    return user


def strip(clock: Clock, user: User, n: int = 60) -> list[Slot]:
    return as_user(clock.url, user, lambda conn: read_slots(conn, user.id, "mine", keep=KEEP, n=n))[1]


def said(clock: Clock, user: User) -> list[tuple[int, str, str | None]]:
    """Hour, outcome and reason of each slot."""
    return [(slot.scheduled_for.hour, slot.outcome, slot.reason) for slot in strip(clock, user)]


def pass_at(clock: Clock, at: datetime) -> None:
    """Let the runs until now have succeeded and expand what is due then."""
    end_runs(clock.url)
    clock.freeze(at)
    pass_over(clock.url)


def end_as(url: str, slot: datetime, status: str, **values: Any) -> None:
    """Let the live run of a slot have ended so."""
    values = {"headline": None, "expires_at": slot + 30 * DAY} | values
    with psycopg.connect(url) as conn:
        conn.execute(
            "delete from foxtrot.queue using foxtrot.runs r where run_id = r.id and scheduled_for = %s", [slot]
        )
        conn.execute(
            "update foxtrot.runs set status = %(status)s, finished_at = now(), headline = %(headline)s,"
            " expires_at = %(expires_at)s where scheduled_for = %(slot)s",
            values | {"status": status, "slot": slot},
        )


def run_id(url: str, slot: datetime) -> UUID:
    ((found,),) = rows(url, "select id from foxtrot.runs where scheduled_for = %s", slot)
    assert isinstance(found, UUID)
    return found


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
def test_a_slot_shows_how_its_run_ended(clock: Clock, status: str) -> None:
    user = given(clock)
    pass_at(clock, EIGHT)
    end_as(clock.url, EIGHT, status, headline="3 found")
    assert strip(clock, user) == [Slot(EIGHT, status, None, run_id(clock.url, EIGHT), "3 found", None)]


def test_a_slot_whose_run_is_live_is_pending_then_running(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT)
    assert said(clock, user) == [(8, "pending", None)]
    rows(clock.url, "update foxtrot.queue set worker_id = gen_random_uuid() returning run_id")
    assert strip(clock, user) == [Slot(EIGHT, "running", None, run_id(clock.url, EIGHT), None, None)]


def test_a_slot_that_a_live_run_covers_names_it(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT)
    clock.freeze(EIGHT + HOUR)
    pass_over(clock.url)
    assert strip(clock, user)[1] == Slot(EIGHT + HOUR, "skipped", "overlap", run_id(clock.url, EIGHT), None, None)


def test_a_slot_of_a_kind_that_was_not_installed_says_so(clock: Clock) -> None:
    user = given(clock)
    clock.freeze(EIGHT)
    scheduling(clock.url, lambda pool: pass_once(pool, settings(), Registry([])))
    assert said(clock, user) == [(8, "skipped", "not_configured")]


def test_a_slot_is_due_until_it_is_settled(clock: Clock) -> None:
    user = given(clock)
    clock.freeze(EIGHT)
    assert strip(clock, user) == [Slot(EIGHT, "due", None, None, None, None)]  # the timetable has yet to move on
    on_database(clock.url, lambda conn: advance(conn, KEEP))
    assert said(clock, user) == [(8, "due", None)]
    pass_over(clock.url)
    assert said(clock, user) == [(8, "pending", None)]


def test_slots_taken_up_too_late_are_missed_but_for_the_newest(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT + 2 * HOUR)
    assert said(clock, user) == [(8, "skipped", "missed"), (9, "skipped", "missed"), (10, "pending", None)]


def test_slots_of_an_outage_that_nobody_took_up_are_missed(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT + 150 * HOUR)
    assert len(table(clock.url, "ticks")) == 100
    last = as_user(clock.url, user, lambda conn: read_slots(conn, user.id, "mine", keep=KEEP, n=200))[1]
    assert [(slot.outcome, slot.reason) for slot in last] == [("skipped", "missed")] * 150 + [("pending", None)]


def test_slots_of_a_pause_say_so_and_why(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT)
    clock.advance(HOUR / 2)
    pause(clock.url, user, "on holiday")
    for hours in (1, 2):
        pass_at(clock, EIGHT + hours * HOUR)
    clock.advance(HOUR / 2)
    resume(clock.url, user)
    pass_at(clock, EIGHT + 3 * HOUR)
    assert [(slot.outcome, slot.reason, slot.note) for slot in strip(clock, user)] == [
        ("success", None, None),
        ("skipped", "paused", "on holiday"),
        ("skipped", "paused", "on holiday"),
        ("pending", None, None),
    ]


def test_each_pause_has_its_own_note(clock: Clock) -> None:
    user = given(clock)
    for hour, note in enumerate(("first", "second")):
        pause(clock.url, user, note)
        pass_at(clock, EIGHT + hour * HOUR)
        clock.advance(HOUR / 4)
        resume(clock.url, user)
        clock.advance(HOUR / 4)
    assert [slot.note for slot in strip(clock, user)] == ["first", "second"]


def test_a_slot_that_fell_due_before_a_pause_but_was_expanded_after_reads_paused(clock: Clock) -> None:
    user = given(clock)
    clock.freeze(EIGHT + timedelta(seconds=1))
    pause(clock.url, user, "just now")
    assert said(clock, user) == [(8, "due", None)]
    clock.advance(timedelta(seconds=1))
    pass_over(clock.url)
    assert strip(clock, user) == [Slot(EIGHT, "skipped", "paused", None, None, "just now")]


def test_a_slot_that_was_missed_before_a_pause_stays_missed(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT + HOUR)
    clock.advance(timedelta(minutes=1))
    pause(clock.url, user)
    assert said(clock, user) == [(8, "skipped", "missed"), (9, "pending", None)]


def test_slots_while_the_user_was_away_are_inactive(clock: Clock) -> None:
    user = given(clock)
    fall_asleep(clock.url)
    pass_at(clock, EIGHT)
    clock.advance(HOUR / 2)
    as_user(clock.url, user, lambda conn: wake_schedules(conn, REGISTRY, user.id))
    pass_at(clock, EIGHT + HOUR)
    assert said(clock, user) == [(8, "skipped", "inactive"), (9, "pending", None)]


def test_a_run_that_has_expired_leaves_its_outcome(clock: Clock) -> None:
    user = given(clock)
    pass_at(clock, EIGHT)
    end_as(clock.url, EIGHT, "failed", headline="3 found", expires_at=EIGHT + HOUR / 2)
    assert strip(clock, user)[0].run_id == run_id(clock.url, EIGHT)
    clock.freeze(EIGHT + HOUR / 2)
    assert strip(clock, user) == [Slot(EIGHT, "failed", None, None, None, None)]


def test_slots_of_the_timetable_it_had_before_are_left_out(clock: Clock) -> None:
    user = given(clock)
    for hours in range(3):
        pass_at(clock, EIGHT + hours * HOUR)
    edit(clock.url, user, {"crons": ["30 * * * *"]})
    pass_at(clock, EIGHT + 2.5 * HOUR)
    assert [slot.scheduled_for for slot in strip(clock, user)] == [EIGHT + 2.5 * HOUR]


def test_a_new_schedule_has_no_slots_yet(clock: Clock) -> None:
    given(clock)
    pass_at(clock, EIGHT)
    late = new_user(clock.url)
    put(clock.url, late, HOURLY)
    assert strip(clock, late) == []
    edit(clock.url, late, {"zone": "Asia/Tokyo", "crons": ["0 17 * * *"]})
    assert strip(clock, late) == []


def test_the_last_slots_come_oldest_first_and_none_that_is_older_than_what_is_kept(clock: Clock) -> None:
    user = given(clock, crons=["0 8 * * *"])
    clock.freeze(EIGHT + 40 * DAY)
    assert [slot.scheduled_for for slot in strip(clock, user, n=2)] == [EIGHT + 39 * DAY, EIGHT + 40 * DAY]
    days = [(EIGHT + 40 * DAY - slot.scheduled_for).days for slot in strip(clock, user)]
    assert days == list(range(30, -1, -1))


def test_runs_are_told_from_those_of_another_schedule_of_the_same_times(clock: Clock) -> None:
    user, other = given(clock), new_user(clock.url)
    put(clock.url, other, HOURLY)
    clock.freeze(EIGHT - timedelta(seconds=1))
    pause(clock.url, other)
    pass_at(clock, EIGHT)
    assert (said(clock, user), said(clock, other)) == ([(8, "pending", None)], [(8, "skipped", "paused")])


def test_a_strip_of_sixty_slots_takes_no_more_statements_than_one_of_one(clock: Clock, tmp_path: Path) -> None:
    def statements(n: int) -> int:
        trace = tmp_path / str(n)

        async def traced(conn: AsyncConnection) -> int:
            await act_as(conn, user.id)
            with trace.open("w") as file:
                conn.pgconn.trace(file.fileno())
                _, slots = await read_slots(conn, user.id, "mine", keep=KEEP, n=n)
                conn.pgconn.untrace()
            assert len(slots) == n
            return trace.read_text().count("\tExecute\t")

        return on_database(clock.url, traced)

    user = given(clock)
    clock.freeze(EIGHT + 3 * DAY)
    assert statements(60) == statements(1) > 0


def test_another_users_slots_are_not_found(clock: Clock) -> None:
    async def read(conn: AsyncConnection, user_id: UUID, name: str) -> Any:
        return await read_slots(conn, user_id, name, keep=KEEP)

    refuses_others(clock.url, given(clock), read)
