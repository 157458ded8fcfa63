import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from scheduler.ticks import advance
from shared.cron import tzdata_version
from shared.errors import (
    ConflictError,
    InvalidCronError,
    InvalidInputError,
    InvalidZoneError,
    NotFoundError,
    UnknownKindError,
)
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.models import Timetable, User
from shared.schedules import CatchUp, Put, Rules, Wish, put_schedule
from shared.users import act_as
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, Search, end_runs, on_database, pass_over, rows, slots
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    RULES,
    as_user,
    changed,
    new_user,
    put,
    shown,
    stored,
)
from tests.support import connect, make_run, make_schedule, make_tick, make_timetable, make_user, wait_for_lock

TIMES = "select crons, t.zone, next_slot from foxtrot.timetables t order by crons, t.zone"


async def store(conn: AsyncConnection, user: User, wish: Wish, **values: Any) -> Put:
    await act_as(conn, user.id)
    return await put_schedule(conn, REGISTRY, user.id, wish, **{"rules": RULES} | values)


def test_a_wish_is_stored_with_all_that_expanding_needs(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, org_id="acme")
    made = put(clock.url, user, changed(DAILY, spread_seconds=60, catch_up=CatchUp.ALL, note="every morning"))
    schedule = stored(clock.url)
    assert made == Put(schedule["id"], created=True, changed=True)
    expected = {
        "user_id": user.id, "bucket": user.bucket, "org_id": "acme", "key": "mine", "kind": "demo", "zone": "UTC",
        "parameters": {"query": "python"}, "fingerprint": fingerprint("demo", "acme", Search(query="python")),
        "spread_seconds": 60, "catch_up": "all", "enabled": True, "paused_at": None, "effective_from": AT,
        "note": "every morning", "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    assert schedule.items() >= expected.items()
    timetable = rows(clock.url, "select id, crons, zone, next_slot, tzdata from foxtrot.timetables")
    assert timetable == [(schedule["timetable_id"], ["0 8 * * *"], "UTC", EIGHT, tzdata_version())]


def test_a_put_that_changes_nothing_changes_nothing(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    first = put(clock.url, user)
    before = stored(clock.url)
    clock.advance(HOUR)
    same = changed(DAILY, crons=["0  8 * * *", "0 8 * * *"], parameters={"query": "python"})
    assert put(clock.url, user, same) == Put(first.id, created=False, changed=False)
    assert stored(clock.url) == before


def test_other_parameters_move_neither_slots_nor_effective_from(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    first = put(clock.url, user)
    before = stored(clock.url)
    clock.advance(HOUR)
    assert put(clock.url, user, changed(DAILY, parameters={"query": "sql"})) == Put(
        first.id, created=False, changed=True
    )
    after = stored(clock.url)
    assert after["parameters"] == {"query": "sql"}
    assert after["fingerprint"] != before["fingerprint"]
    assert after["updated_at"] == AT + HOUR
    moved = {"parameters", "fingerprint", "updated_at"}
    assert {name: after[name] for name in after if name not in moved} == {
        name: before[name] for name in before if name not in moved
    }


@pytest.mark.parametrize(
    "change",
    [{"crons": ["0 9 * * *"]}, {"zone": "Asia/Tokyo"}, {"enabled": False}],
    ids=lambda change: next(iter(change)),
)
def test_other_times_another_zone_and_a_pause_count_from_now(clock: Clock, change: dict[str, Any]) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    clock.advance(HOUR)
    assert put(clock.url, user, changed(DAILY, **change)).changed
    assert stored(clock.url)["effective_from"] == AT + HOUR


def test_a_pause_is_dated_and_resuming_counts_from_now(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    clock.freeze(EIGHT)
    put(clock.url, user, changed(DAILY, enabled=False))
    clock.advance(HOUR)
    put(clock.url, user, changed(DAILY, enabled=False, note="on holiday"))
    assert stored(clock.url)["paused_at"] == EIGHT
    assert pass_over(clock.url).runs == 0
    clock.advance(HOUR)
    put(clock.url, user)
    assert (stored(clock.url)["paused_at"], stored(clock.url)["effective_from"]) == (None, EIGHT + 2 * HOUR)
    assert pass_over(clock.url).runs == 0
    clock.freeze(EIGHT + timedelta(days=1))
    assert pass_over(clock.url).runs == 1


def test_schedules_of_one_rule_share_a_timetable_however_it_is_written(clock: Clock) -> None:
    clock.freeze(AT)
    for crons in (["0 8 * * *", "0 10 * * mon"], ["0 10 * * MON", " 0  8 * * *", "0 8 * * *"]):
        put(clock.url, new_user(clock.url), changed(DAILY, crons=crons))
    assert len(rows(clock.url, TIMES)) == 1


def test_the_zone_user_stands_for_the_users_own_or_the_default(clock: Clock) -> None:
    clock.freeze(AT)
    for zone in ("Asia/Tokyo", None):
        put(clock.url, new_user(clock.url, zone=zone), changed(DAILY, zone="user"))
    assert [zone for _, zone, _ in rows(clock.url, TIMES)] == ["Asia/Tokyo", "Europe/London"]
    assert rows(clock.url, "select distinct zone from foxtrot.schedules") == [("user",)]


def test_a_new_timetable_waits_for_its_first_slot_after_now(clock: Clock) -> None:
    clock.freeze(EIGHT)
    put(clock.url, new_user(clock.url))
    assert [slot for *_, slot in rows(clock.url, TIMES)] == [EIGHT + timedelta(days=1)]


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"kind": "no such"}, UnknownKindError, "kind"),
        ({"parameters": {"query": {}}}, InvalidInputError, "parameters.query"),
        ({"parameters": None}, InvalidInputError, "parameters"),
        ({"crons": []}, InvalidCronError, "crons"),
        ({"crons": ["* * * * *"]}, InvalidCronError, "crons"),
        ({"crons": ["0 0 31 2 *"]}, InvalidCronError, "crons"),
        ({"zone": "Europe"}, InvalidZoneError, "zone"),
        ({"key": ""}, InvalidInputError, "key"),
        ({"key": "k" * 101}, InvalidInputError, "key"),
        ({"key": "a\x00b"}, InvalidInputError, "key"),
        ({"key": "a/b"}, InvalidInputError, "key"),
        ({"key": ".."}, InvalidInputError, "key"),
        ({"key": " a"}, InvalidInputError, "key"),
        ({"key": "a\nb"}, InvalidInputError, "key"),
        ({"key": "00000000-0000-4000-8000-000000000000"}, InvalidInputError, "key"),
        ({"key": "00000000000040008000000000000000"}, InvalidInputError, "key"),
        ({"key": "kept:demo"}, InvalidInputError, "key"),
        ({"note": "\x00"}, InvalidInputError, "note"),
        ({"note": "n" * 501}, InvalidInputError, "note"),
        ({"spread_seconds": -1}, InvalidInputError, "spread_seconds"),
        ({"spread_seconds": 86_401}, InvalidInputError, "spread_seconds"),
        ({"crons": ["0 8,9 * * *"], "spread_seconds": 3601}, InvalidInputError, "spread_seconds"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_by_name(
    clock: Clock, change: dict[str, Any], error: type[InvalidInputError], field: str
) -> None:
    user = new_user(clock.url)
    with pytest.raises(error) as refused:
        put(clock.url, user, changed(DAILY, **change))
    assert refused.value.field == field
    assert rows(clock.url, "select from foxtrot.schedules") == []
    assert rows(clock.url, TIMES) == []


@pytest.mark.parametrize("key", ["k" * 100, "früh morgens", "preview", "a.b", "?#%&+"])
def test_what_can_stand_in_an_address_can_be_a_key(clock: Clock, key: str) -> None:
    user = new_user(clock.url)
    assert put(clock.url, user, changed(DAILY, key=key)).created
    assert shown(clock.url, user, key).key == key


def test_a_spread_may_be_as_long_as_the_way_to_the_next_slot(clock: Clock) -> None:
    assert put(clock.url, new_user(clock.url), changed(DAILY, crons=["0 8,9 * * *"], spread_seconds=3600)).created


# How many, and which are new ------------------------------------------------------------------------------------------

ONE = Rules("Europe/London", at_most=1)


def test_a_user_has_so_many_schedules_and_no_more(clock: Clock) -> None:
    user = new_user(clock.url)
    put(clock.url, user, rules=ONE)
    put(clock.url, new_user(clock.url), rules=ONE)
    with pytest.raises(ConflictError, match="You have 1 schedules, and 1 is the limit"):
        put(clock.url, user, changed(DAILY, key="second"), rules=ONE)
    assert put(clock.url, user, changed(DAILY, note="the one I have"), rules=ONE).changed
    assert put(clock.url, user, changed(DAILY, key="second"), rules=replace(ONE, at_most=2)).created


def test_a_new_one_must_not_be_there_already(clock: Clock) -> None:
    user = new_user(clock.url)
    assert put(clock.url, user, new=True).created
    assert put(clock.url, new_user(clock.url), new=True).created
    with pytest.raises(ConflictError, match="There is a schedule 'mine' already"):
        put(clock.url, user, changed(DAILY, note="other"), new=True)
    assert shown(clock.url, user).note is None


# A day that had its run -----------------------------------------------------------------------------------------------


def walk(clock: Clock, hours: int) -> None:
    """From slot to slot, each pass after the runs of the one before have ended."""
    for _ in range(hours):
        clock.advance(HOUR)
        end_runs(clock.url)
        pass_over(clock.url)


def moved_west(clock: Clock, *crons: str) -> list[datetime]:
    """The slots of somebody who moves from UTC to Los Angeles, seven hours behind, once 8:00 is past."""
    clock.freeze(AT.replace(minute=0))
    user = new_user(clock.url)
    put(clock.url, user, changed(DAILY, crons=crons))
    walk(clock, 2)
    put(clock.url, user, changed(DAILY, crons=crons, zone="America/Los_Angeles"))
    walk(clock, 36)
    return slots(clock.url, user.id)


def test_another_zone_does_not_repeat_a_day_that_had_its_run(clock: Clock) -> None:
    assert moved_west(clock, "0 8 * * *") == [EIGHT, EIGHT + DAY + 7 * HOUR]


def test_with_two_slots_a_day_another_zone_leaves_none_out(clock: Clock) -> None:
    there = EIGHT + 7 * HOUR
    assert moved_west(clock, "0 8,20 * * *") == [EIGHT, there, there + HOUR * 12, there + DAY]


def test_a_day_that_had_no_run_is_not_left_out(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    put(clock.url, user, changed(DAILY, zone="America/Los_Angeles"))
    walk(clock, 12)
    assert slots(clock.url, user.id) == [EIGHT + 7 * HOUR]


def test_a_day_whose_run_was_covered_by_another_had_its_run(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    on_database(clock.url, lambda conn: make_run(conn, user, "running", fingerprint=stored(clock.url)["fingerprint"]))
    clock.freeze(EIGHT)
    assert pass_over(clock.url).skips == 1
    put(clock.url, user, changed(DAILY, zone="America/Los_Angeles"))
    walk(clock, 24)
    assert slots(clock.url, user.id) == []


def test_two_moves_on_one_day_do_not_repeat_it_either(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    clock.freeze(EIGHT)
    pass_over(clock.url)
    for zone in ("America/Los_Angeles", "America/New_York"):
        put(clock.url, user, changed(DAILY, zone=zone))
    walk(clock, 30)
    assert slots(clock.url, user.id) == [EIGHT, EIGHT + DAY + 4 * HOUR]


def test_what_the_kind_cannot_serve_is_not_scheduled(clock: Clock) -> None:
    def refuse(parameters: Search) -> None:
        if parameters.query == "python":
            raise InvalidInputError("no snakes here", field="parameters.query")

    registry = Registry([replace(REGISTRY.get("demo"), check=refuse)])
    user = new_user(clock.url)

    def wish(query: str) -> Put:
        wanted = changed(DAILY, parameters={"query": query})
        return as_user(clock.url, user, lambda conn: put_schedule(conn, registry, user.id, wanted, rules=RULES))

    with pytest.raises(InvalidInputError, match="no snakes here"):
        wish("python")
    assert rows(clock.url, "select from foxtrot.schedules") == []
    assert wish("baker").created
    with pytest.raises(InvalidInputError, match="no snakes here"):
        wish("python")
    assert stored(clock.url)["parameters"] == {"query": "baker"}


def test_a_user_who_is_not_there_has_no_schedules(clock: Clock) -> None:
    user_id = uuid4()
    with pytest.raises(NotFoundError, match=str(user_id)):
        on_database(clock.url, lambda conn: put_schedule(conn, REGISTRY, user_id, DAILY, rules=RULES))


# Races ----------------------------------------------------------------------------------------------------------------


def race(url: str, one: User, other: User, wish: Wish = DAILY, **values: Any) -> list[Put]:
    """One puts `DAILY`; the other, who puts `wish`, waits for the first, which then commits."""

    async def run() -> list[Put]:
        async with connect(url) as first, connect(url) as second:
            done = await store(first, one, DAILY, **values)
            waiting = asyncio.create_task(store(second, other, wish, **values))
            await wait_for_lock(url, second.info.backend_pid)
            await first.commit()
            return [done, await waiting]

    return asyncio.run(run())


def test_two_who_make_the_same_timetable_at_once_share_it(clock: Clock) -> None:
    one, other = race(clock.url, new_user(clock.url), new_user(clock.url))
    assert (one.created, other.created) == (True, True)
    assert len(rows(clock.url, TIMES)) == 1


def test_the_same_wish_twice_at_once_is_one_schedule(clock: Clock) -> None:
    user = new_user(clock.url)
    put(clock.url, new_user(clock.url))  # the timetable is there, so they meet at the schedule
    one, other = race(clock.url, user, user)
    assert other == Put(one.id, created=False, changed=False)


def test_the_last_place_is_taken_once(clock: Clock) -> None:
    user = new_user(clock.url)
    put(clock.url, new_user(clock.url))
    with pytest.raises(ConflictError, match="is the limit"):
        race(clock.url, user, user, changed(DAILY, key="second"), rules=ONE)
    assert shown(clock.url, user).key == "mine"


def test_the_last_place_taken_by_the_same_wish_is_no_conflict(clock: Clock) -> None:
    user = new_user(clock.url)
    one, other = race(clock.url, user, user, changed(DAILY, note="second"), rules=ONE)
    assert other == Put(one.id, created=False, changed=True)


def test_of_two_new_ones_with_one_key_the_second_changes_nothing(clock: Clock) -> None:
    user = new_user(clock.url)
    with pytest.raises(ConflictError, match="already"):
        race(clock.url, user, user, changed(DAILY, note="second"), new=True)
    assert stored(clock.url)["note"] is None


def test_a_timetable_stays_where_it_is_while_a_schedule_is_about_to_join(clock: Clock) -> None:
    async def scenario() -> None:
        user, timetable = await _with_timetable()
        async with connect(clock.url) as first, connect(clock.url) as second, connect(clock.url) as third:
            await make_schedule(first, user, timetable, key="mine")
            joining = asyncio.create_task(store(second, user, DAILY))
            await wait_for_lock(clock.url, second.info.backend_pid)
            clock.freeze(EIGHT)
            early = await advance(third, timedelta(days=30))
            await third.commit()
            await first.rollback()
            await joining
            await second.commit()
            late = await advance(third, timedelta(days=30))
            assert (early.ticks, late.ticks) == (0, 1)

    async def _with_timetable() -> tuple[User, Timetable]:
        async with connect(clock.url) as conn:
            return await make_user(conn), await make_timetable(conn, next_slot=EIGHT)

    clock.freeze(AT)
    asyncio.run(scenario())


@pytest.mark.parametrize("last", [True, False], ids=["behind the cursor", "ahead of the cursor"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "open"])
def test_a_slot_that_was_taken_up_before_the_schedule_joined_is_not_missed(
    clock: Clock, last: bool, finished: bool
) -> None:
    async def taken_up(conn: AsyncConnection) -> None:
        timetable = await make_timetable(conn, next_slot=EIGHT + timedelta(days=1))
        cursor = UUID(int=2**128 - 1 if last else 0)
        values = {"finished_at": EIGHT, "cursor": cursor} if finished else {"cursor": cursor}
        await make_tick(conn, timetable, scheduled_for=EIGHT, **values)

    # A transaction that began before the slot, and joins after it was taken up, sees a now() before the slot.
    clock.freeze(EIGHT - timedelta(milliseconds=1))
    on_database(clock.url, taken_up)
    user = new_user(clock.url)
    put(clock.url, user)
    clock.freeze(EIGHT)
    pass_over(clock.url)
    pass_over(clock.url)
    assert slots(clock.url, user.id) == [EIGHT]


def test_a_slot_before_the_schedule_began_is_not_its_own(clock: Clock) -> None:
    clock.freeze(AT)
    put(clock.url, new_user(clock.url))
    clock.freeze(EIGHT)
    pass_over(clock.url)
    clock.freeze(EIGHT + HOUR)
    late = new_user(clock.url)
    put(clock.url, late)
    pass_over(clock.url)
    assert slots(clock.url, late.id) == []
    assert len(rows(clock.url, "select from foxtrot.ticks")) == 1
