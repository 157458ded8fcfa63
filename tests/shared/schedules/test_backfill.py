import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from scheduler.service import PassCounts
from scheduler.ticks import advance
from shared.errors import InvalidInputError, UnknownKindError
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.models import User
from shared.schedules import Backfilled, backfill
from shared.users import act_as
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, Search, end_runs, on_database, pass_over, rows, slots
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
    new_user,
    pause,
    put,
    refuses_others,
    stored,
    table,
)
from tests.support import connect, make_run, wait_for_lock

BACK = EIGHT - 3 * DAY
NOTHING = {"first": None, "last": None}


def given(clock: Clock, **values: Any) -> User:
    """Somebody with the daily schedule since 7:30 of this day."""
    clock.freeze(AT)
    user = new_user(clock.url, org_id="acme")
    put(clock.url, user, changed(DAILY, **values))
    return user


def fill(
    url: str, user: User, start: datetime, end: datetime, *, dry_run: bool = False, name: str = "mine"
) -> Backfilled:
    return as_user(
        url, user, lambda conn: backfill(conn, REGISTRY, user.id, name, start, end, keep=KEEP, dry_run=dry_run)
    )


def filled(url: str) -> list[datetime]:
    """The slots of backfill runs."""
    return [
        slot for (slot,) in rows(url, "select scheduled_for from foxtrot.runs where source = 'backfill' order by 1")
    ]


def test_slots_of_the_past_become_runs_behind_all_others(clock: Clock) -> None:
    user = given(clock)
    assert fill(clock.url, user, BACK, EIGHT - DAY) == Backfilled(
        slots=2, settled=0, runs=2, first=BACK, last=BACK + DAY
    )
    runs, queue = table(clock.url, "runs"), table(clock.url, "queue")
    schedule = stored(clock.url)
    assert [(run["scheduled_for"], run["source"], run["schedule_id"]) for run in runs] == [
        (BACK, "backfill", schedule["id"]),
        (BACK + DAY, "backfill", schedule["id"]),
    ]
    derived = rows(clock.url, "select id = foxtrot.cron_run_id(schedule_id, scheduled_for) from foxtrot.runs")
    assert derived == [(True,), (True,)]
    assert [(row["run_id"], row["lane"], row["available_at"], row["max_attempts"]) for row in queue] == [
        (run["id"], 2, AT, 3) for run in runs
    ]
    assert {(run["org_id"], run["kind"], run["parameters"]["query"]) for run in runs} == {("acme", "demo", "python")}


def test_each_slot_is_work_of_its_own(clock: Clock) -> None:
    user = given(clock)
    on_database(clock.url, lambda conn: make_run(conn, user, "running", fingerprint=stored(clock.url)["fingerprint"]))
    fill(clock.url, user, BACK, AT)
    prints = [row["fingerprint"] for row in table(clock.url, "runs") if row["source"] == "backfill"]
    assert prints == [fingerprint("demo", "acme", Search(query="python"), BACK + n * DAY) for n in range(3)]
    queued = {row["fingerprint"] for row in table(clock.url, "queue") if row["lane"] == 2}
    assert queued == set(prints)


def test_the_stretch_has_its_start_and_not_its_end(clock: Clock) -> None:
    user = given(clock)
    instant = timedelta(microseconds=1)
    assert fill(clock.url, user, BACK + instant, BACK + DAY, dry_run=True).slots == 0
    assert fill(clock.url, user, BACK, BACK + DAY, dry_run=True).first == BACK
    assert fill(clock.url, user, BACK + instant, BACK + DAY + instant, dry_run=True).first == BACK + DAY


def test_a_dry_run_counts_what_would_be_and_stores_nothing(clock: Clock) -> None:
    user = given(clock)
    counted = fill(clock.url, user, BACK, AT, dry_run=True)
    assert counted == Backfilled(slots=3, settled=0, runs=3, first=BACK, last=EIGHT - DAY)
    assert (table(clock.url, "runs"), table(clock.url, "queue")) == ([], [])
    assert fill(clock.url, user, BACK, AT) == counted


def test_what_is_filled_is_settled_even_after_its_runs_have_ended(clock: Clock) -> None:
    user = given(clock)
    fill(clock.url, user, BACK, BACK + DAY)
    end_runs(clock.url)
    assert fill(clock.url, user, BACK, AT) == Backfilled(
        slots=3, settled=1, runs=2, first=BACK + DAY, last=BACK + 2 * DAY
    )
    assert fill(clock.url, user, BACK, AT) == Backfilled(slots=3, settled=3, runs=0, **NOTHING)
    assert filled(clock.url) == [BACK, BACK + DAY, BACK + 2 * DAY]


def test_slots_with_a_cron_run_or_a_skip_are_settled(clock: Clock) -> None:
    user = given(clock)
    for days in (0, 1):
        clock.freeze(EIGHT + days * DAY)
        pass_over(clock.url)  # the run of the first day goes on, and covers the second
    clock.freeze(EIGHT + DAY + HOUR)
    assert fill(clock.url, user, EIGHT, EIGHT + DAY + HOUR) == Backfilled(slots=2, settled=2, runs=0, **NOTHING)
    assert filled(clock.url) == []


def test_slots_of_a_pause_are_filled_with_the_parameters_of_now(clock: Clock) -> None:
    user = given(clock)
    pause(clock.url, user)
    clock.freeze(EIGHT + DAY)
    pass_over(clock.url)
    edit(clock.url, user, {"parameters": {"query": "sql"}})
    clock.advance(HOUR)
    assert fill(clock.url, user, EIGHT, EIGHT + DAY + HOUR).runs == 2
    assert {run["parameters"]["query"] for run in table(clock.url, "runs")} == {"sql"}


# Slots that are on their way ------------------------------------------------------------------------------------------


def test_a_slot_whose_timetable_has_yet_to_move_on_is_left_to_it(clock: Clock) -> None:
    user = given(clock)
    clock.freeze(EIGHT + timedelta(seconds=1))
    assert fill(clock.url, user, EIGHT, EIGHT + timedelta(seconds=1)).runs == 0
    assert pass_over(clock.url).runs == 1
    assert slots(clock.url, user.id) == [EIGHT]


def test_a_slot_whose_tick_is_open_is_left_to_it(clock: Clock) -> None:
    user = given(clock)
    clock.freeze(EIGHT + timedelta(seconds=1))
    on_database(clock.url, lambda conn: advance(conn, KEEP))
    assert fill(clock.url, user, EIGHT, EIGHT + timedelta(seconds=1)).runs == 0
    assert pass_over(clock.url).runs == 1
    assert slots(clock.url, user.id) == [EIGHT]


def test_a_backfill_under_way_does_not_break_the_expansion_of_the_same_schedule(clock: Clock) -> None:
    async def filling(conn: AsyncConnection) -> None:
        await act_as(conn, user.id)
        await backfill(conn, REGISTRY, user.id, "mine", BACK, clock.now(), keep=KEEP)
        assert await asyncio.to_thread(pass_over, clock.url) == passed

    user, other = given(clock), new_user(clock.url)
    put(clock.url, other)
    clock.freeze(EIGHT + timedelta(seconds=1))
    on_database(clock.url, lambda conn: advance(conn, KEEP))
    passed = replace(PassCounts(), runs=2)
    on_database(clock.url, filling)
    assert (slots(clock.url, user.id), filled(clock.url)) == ([EIGHT], [BACK, BACK + DAY, BACK + 2 * DAY])
    assert pass_over(clock.url) == PassCounts()


# Two at once ----------------------------------------------------------------------------------------------------------


def test_the_second_of_two_at_once_finds_all_settled(clock: Clock) -> None:
    async def one(conn: AsyncConnection) -> Backfilled:
        await act_as(conn, user.id)
        return await backfill(conn, REGISTRY, user.id, "mine", BACK, AT, keep=KEEP)

    async def race() -> tuple[Backfilled, Backfilled]:
        async with connect(clock.url) as first, connect(clock.url) as second:
            done = await one(first)
            waiting = asyncio.create_task(one(second))
            await wait_for_lock(clock.url, second.info.backend_pid)
            await first.commit()
            return done, await waiting

    user = given(clock)
    first, second = asyncio.run(race())
    assert (first.runs, second.runs, second.settled) == (3, 0, 3)


def test_what_a_live_run_of_the_same_work_covers_is_not_counted_as_made(clock: Clock) -> None:
    user = given(clock)
    put(clock.url, user, changed(DAILY, key="twin"))
    fill(clock.url, user, BACK, BACK + DAY)
    assert fill(clock.url, user, BACK, AT, name="twin") == Backfilled(
        slots=3, settled=1, runs=2, first=BACK + DAY, last=BACK + 2 * DAY
    )


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "field", "words"),
    [
        (BACK, BACK, "end", "is not after start"),
        (BACK, BACK - DAY, "end", "is not after start"),
        (BACK, AT + timedelta(seconds=1), "end", "in the future"),
        (AT - KEEP - timedelta(seconds=1), AT, "start", "more than 30 days ago"),
        (datetime(1, 1, 1, tzinfo=UTC), AT, "start", "more than 30 days ago"),
        (BACK.replace(tzinfo=None), AT, "start", "has no offset"),
        (BACK, AT.replace(tzinfo=None), "end", "has no offset"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused_by_name(
    clock: Clock, start: datetime, end: datetime, field: str, words: str
) -> None:
    user = given(clock)
    with pytest.raises(InvalidInputError, match=words) as refused:
        fill(clock.url, user, start, end, dry_run=True)
    assert refused.value.field == field


def test_a_stretch_has_a_thousand_slots_at_most(clock: Clock) -> None:
    user = given(clock, crons=["*/5 * * * *"])
    start = AT - timedelta(minutes=5 * 1000)
    assert fill(clock.url, user, start, AT, dry_run=True).runs == 1000
    with pytest.raises(InvalidInputError, match="more than 1,000 slots") as refused:
        fill(clock.url, user, start - timedelta(minutes=5), AT, dry_run=True)
    assert refused.value.field == "end"


def test_a_kind_that_is_gone_cannot_be_filled(clock: Clock) -> None:
    async def without_kinds(conn: AsyncConnection) -> Backfilled:
        return await backfill(conn, Registry([]), user.id, "mine", BACK, AT, keep=KEEP)

    user = given(clock)
    with pytest.raises(UnknownKindError):
        on_database(clock.url, without_kinds)


def test_another_users_schedule_is_not_found(clock: Clock) -> None:
    async def fill_theirs(conn: AsyncConnection, user_id: UUID, name: str) -> Backfilled:
        return await backfill(conn, REGISTRY, user_id, name, BACK, AT, keep=KEEP)

    refuses_others(clock.url, given(clock), fill_theirs)
    assert table(clock.url, "runs") == []
