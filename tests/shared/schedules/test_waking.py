from datetime import timedelta
from typing import Any

import pytest

from shared.kinds import Registry
from shared.models import User
from shared.schedules import wake_schedules
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, end_runs, on_database, pass_over, rows, slots
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    as_user,
    changed,
    fall_asleep,
    new_user,
    pause,
    put,
    shown,
    stored,
    table,
)
from tests.support import make_run

MONTH = 30 * DAY


def given(clock: Clock, *wishes: dict[str, Any]) -> User:
    """Somebody who has been away for a month, with schedules that have been dormant since."""
    clock.freeze(AT)
    user = new_user(clock.url)
    for wish in wishes or ({},):
        put(clock.url, user, changed(DAILY, **wish))
    fall_asleep(clock.url)
    clock.advance(MONTH)
    return user


def wake(url: str, user: User, registry: Registry = REGISTRY) -> int:
    return as_user(url, user, lambda conn: wake_schedules(conn, registry, user.id))


def test_a_dormant_schedule_goes_on_from_now_with_a_run_at_once(clock: Clock) -> None:
    user = given(clock)
    assert wake(clock.url, user) == 1
    schedule = stored(clock.url)
    assert (schedule["dormant"], schedule["effective_from"]) == (False, AT + MONTH)
    (run,), (queued,) = table(clock.url, "runs"), table(clock.url, "queue")
    assert (run["source"], run["schedule_id"], run["scheduled_for"]) == ("manual", schedule["id"], None)
    assert (run["parameters"], run["fingerprint"]) == ({"query": "python"}, schedule["fingerprint"])
    assert (queued["lane"], queued["available_at"], queued["max_attempts"]) == (0, AT + MONTH, 3)
    (away,) = table(clock.url, "pauses")
    assert (away["reason"], away["since"], away["until"]) == ("inactive", AT, AT + MONTH)


def test_slots_of_the_time_away_are_not_caught_up_and_the_next_one_comes(clock: Clock) -> None:
    user = given(clock)
    clock.advance(timedelta(minutes=31))  # a minute past a slot that no scheduler has taken up yet
    wake(clock.url, user)
    end_runs(clock.url)
    pass_over(clock.url)
    assert slots(clock.url, user.id) == []
    clock.freeze(EIGHT + MONTH + DAY)
    pass_over(clock.url)
    assert slots(clock.url, user.id) == [EIGHT + MONTH + DAY]


def test_each_dormant_schedule_has_a_run_and_the_same_work_is_one(clock: Clock) -> None:
    others = {"key": "other", "parameters": {"query": "sql"}}, {"key": "twin", "crons": ["0 9 * * *"]}
    user = given(clock, {}, *others)
    assert wake(clock.url, user) == 3
    assert sorted(run["parameters"]["query"] for run in table(clock.url, "runs")) == ["python", "sql"]


def test_a_live_run_of_the_same_work_is_the_refresh(clock: Clock) -> None:
    user = given(clock)
    same = {"fingerprint": stored(clock.url)["fingerprint"], "source": "cron", "available_at": AT + MONTH + HOUR}
    run = on_database(clock.url, lambda conn: make_run(conn, user, **same))
    assert wake(clock.url, user) == 1
    (queued,) = table(clock.url, "queue")
    assert (queued["run_id"], queued["lane"], queued["available_at"]) == (run.id, 0, AT + MONTH)


def test_whoever_is_awake_is_left_alone(clock: Clock) -> None:
    user = given(clock)
    assert wake(clock.url, user) == 1
    before = table(clock.url, "schedules")
    clock.advance(HOUR)
    assert wake(clock.url, user) == 0
    assert table(clock.url, "schedules") == before


def test_only_who_is_back_is_woken(clock: Clock) -> None:
    user = given(clock)
    other = new_user(clock.url)
    assert on_database(clock.url, lambda conn: wake_schedules(conn, REGISTRY, other.id)) == 0
    assert wake(clock.url, other) == 0
    assert shown(clock.url, user).dormant


@pytest.mark.parametrize("asleep_first", [True, False])
def test_a_paused_schedule_stays_paused_and_has_no_run(clock: Clock, *, asleep_first: bool) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    if asleep_first:
        fall_asleep(clock.url)
        clock.advance(HOUR)
    pause(clock.url, user, "on holiday")
    clock.advance(HOUR)
    if not asleep_first:
        fall_asleep(clock.url)
        clock.advance(HOUR)
    assert wake(clock.url, user) == 0
    schedule = shown(clock.url, user)
    assert (schedule.dormant, schedule.enabled, schedule.pause_note) == (False, False, "on holiday")
    assert [(each["reason"], each["until"]) for each in table(clock.url, "pauses")] == [("paused", None)]
    assert table(clock.url, "runs") == []


def test_a_schedule_of_a_kind_that_is_gone_wakes_without_a_run(clock: Clock) -> None:
    user = given(clock)
    assert wake(clock.url, user, Registry([])) == 0
    assert rows(clock.url, "select dormant from foxtrot.schedules") == [(False,)]
    assert table(clock.url, "runs") == []
