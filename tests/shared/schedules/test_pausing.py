from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from shared.models import User
from shared.schedules import PausedSchedule, backfill, pause_after_failures, pause_failing
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, on_database, pass_over, rows, scheduling
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    KEEP,
    as_service,
    as_user,
    changed,
    edit,
    new_user,
    pause,
    put,
    resume,
    shown,
    stored,
)
from tests.support import make_run

HOURLY = changed(DAILY, crons=["0 * * * *"])
END = """
with ended as (delete from foxtrot.queue returning run_id)
update foxtrot.runs
set status = %s, finished_at = now(), expires_at = now() + interval '7 days', errors = %s
from ended
where id = run_id
returning id
"""


def given(clock: Clock) -> User:
    """Somebody with an hourly schedule since 7:30."""
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user, HOURLY)
    return user


def end(url: str, status: str, message: str | None = "the board said no") -> list[UUID]:
    """Let all live runs have ended so."""
    errors = [{"message": message}] if status == "failed" else []
    return [run_id for (run_id,) in rows(url, END, status, Jsonb(errors))]


def settle(url: str, run_ids: list[UUID], failures: int = 3) -> list[PausedSchedule]:
    return as_service(url, lambda conn: pause_failing(conn, run_ids, failures=failures))


def hours(clock: Clock, *statuses: str, begin: datetime = EIGHT) -> list[UUID]:
    """Let one slot after the other end so; the ids of the last one's runs."""
    ended: list[UUID] = []
    for hour, status in enumerate(statuses):
        clock.freeze(begin + hour * HOUR)
        pass_over(clock.url)
        ended = end(clock.url, status)
        assert ended
    return ended


def test_a_schedule_whose_last_runs_all_failed_is_paused_and_says_why(clock: Clock) -> None:
    user = given(clock)
    last = hours(clock, "success", "failed", "failed", "failed")
    note = "Paused by itself: its last 3 runs failed, the last one with: the board said no"
    assert settle(clock.url, last) == [PausedSchedule(stored(clock.url)["id"], user.id, note)]
    schedule = shown(clock.url, user)
    assert (schedule.enabled, schedule.paused_at, schedule.pause_note) == (False, EIGHT + 3 * HOUR, note)
    clock.advance(HOUR)
    assert pass_over(clock.url).runs == 0
    assert settle(clock.url, last) == []


def test_fewer_failures_pause_nothing(clock: Clock) -> None:
    user = given(clock)
    assert settle(clock.url, hours(clock, "failed", "failed")) == []
    assert shown(clock.url, user).enabled


def test_a_success_in_between_starts_anew(clock: Clock) -> None:
    given(clock)
    assert settle(clock.url, hours(clock, "failed", "failed", "success", "failed", "failed")) == []
    assert len(settle(clock.url, hours(clock, "failed", begin=EIGHT + 5 * HOUR))) == 1


@pytest.mark.parametrize("again", ["resumed", "other times"])
def test_resuming_and_other_times_start_anew(clock: Clock, again: str) -> None:
    user = given(clock)
    hours(clock, "failed", "failed")
    clock.advance(timedelta(minutes=10))
    if again == "resumed":
        pause(clock.url, user)
        resume(clock.url, user)
    else:
        edit(clock.url, user, {"crons": ["0 */2 * * *", "0 1-23/2 * * *"]})
    assert settle(clock.url, hours(clock, "failed", "failed", begin=EIGHT + 2 * HOUR)) == []
    assert len(settle(clock.url, hours(clock, "failed", begin=EIGHT + 4 * HOUR))) == 1


def test_a_schedule_that_was_paused_by_itself_can_be_resumed(clock: Clock) -> None:
    user = given(clock)
    settle(clock.url, hours(clock, "failed", "failed", "failed"))
    clock.advance(timedelta(minutes=10))
    resume(clock.url, user)
    assert settle(clock.url, hours(clock, "failed", begin=EIGHT + 3 * HOUR)) == []
    assert (shown(clock.url, user).enabled, shown(clock.url, user).pause_note) == (True, None)


def test_slots_without_a_run_that_failed_or_succeeded_are_passed_over(clock: Clock) -> None:
    user = given(clock)
    hours(clock, "failed", "cancelled", "failed")
    clock.advance(HOUR)
    pass_over(clock.url)
    clock.advance(HOUR)
    assert pass_over(clock.url).skips == 1  # the run of the hour before covers it
    assert [paused.user_id for paused in settle(clock.url, end(clock.url, "failed"))] == [user.id]


def test_runs_that_nobody_timed_do_not_count(clock: Clock) -> None:
    user = given(clock)
    hours(clock, "success")
    rows(clock.url, "update foxtrot.schedules set enabled = false, paused_at = now() returning id")
    for hour in range(1, 4):
        clock.freeze(EIGHT + hour * HOUR)
        pass_over(clock.url)
    rows(clock.url, "update foxtrot.schedules set enabled = true, paused_at = null returning id")
    clock.advance(timedelta(minutes=1))
    start, stop = EIGHT + HOUR, EIGHT + 3.01 * HOUR
    as_user(clock.url, user, lambda conn: backfill(conn, REGISTRY, user.id, "mine", start, stop, keep=KEEP))
    filled = end(clock.url, "failed")
    assert len(filled) == 3
    assert settle(clock.url, filled) == []
    assert settle(clock.url, hours(clock, "failed", begin=EIGHT + 4 * HOUR)) == []
    assert settle(clock.url, hours(clock, "failed", "failed", begin=EIGHT + 5 * HOUR)) != []


def test_only_the_schedule_whose_runs_failed_is_paused(clock: Clock) -> None:
    given(clock)
    failing = hours(clock, "failed", "failed", "failed")
    other = new_user(clock.url)
    put(clock.url, other, HOURLY)
    assert len(settle(clock.url, failing)) == 1
    assert shown(clock.url, other).enabled


def test_a_run_that_failed_by_hand_pauses_nothing(clock: Clock) -> None:
    user = given(clock)
    hours(clock, "failed", "failed", "failed")
    by_hand = on_database(clock.url, lambda conn: make_run(conn, user, "failed", schedule_id=stored(clock.url)["id"]))
    assert settle(clock.url, [by_hand.id]) == []


@pytest.mark.parametrize("message", ["100 % of it: %s", "m" * 1000, None])
def test_the_note_says_the_last_error_as_far_as_it_fits(clock: Clock, message: Any) -> None:
    user = given(clock)
    clock.freeze(EIGHT)
    pass_over(clock.url)
    settle(clock.url, end(clock.url, "failed", message), failures=1)
    begin = "Paused by itself: its last 1 runs failed, the last one with: "
    assert shown(clock.url, user).pause_note == (begin + (message or ""))[:500]


def test_what_was_paused_is_logged(clock: Clock) -> None:
    user = given(clock)
    last = hours(clock, "failed", "failed")
    with capture_logs() as logs:
        scheduling(clock.url, lambda pool: pause_after_failures(pool, last, failures=2))
        scheduling(clock.url, lambda pool: pause_after_failures(pool, [], failures=2))
    assert [(log["event"], log["user_id"]) for log in logs] == [("schedule_paused", str(user.id))]


def test_a_daily_schedule_is_paused_after_its_days(clock: Clock) -> None:
    user = given(clock)
    clock.advance(timedelta(minutes=10))
    edit(clock.url, user, {"crons": ["0 8 * * *"]})
    for day in range(10):
        last = hours(clock, "failed", begin=EIGHT + day * DAY)
    assert len(settle(clock.url, last, failures=10)) == 1
