import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from scheduler.ticks import advance
from shared.cron import tzdata_version
from shared.errors import InvalidCronError, InvalidInputError, InvalidZoneError, NotFoundError, UnknownKindError
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.models import Schedule, User
from shared.schedules import CatchUp, Put, Wish, put_schedule
from tests.clock import Clock
from tests.scheduler.support import REGISTRY, Search, on_database, pass_over, rows, slots
from tests.support import connect, make_tick, make_timetable, make_user, wait_for_lock

AT = datetime(2031, 3, 30, 7, 30, tzinfo=UTC)
EIGHT = datetime(2031, 3, 30, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY = Wish(key="mine", kind="demo", parameters={"query": "python"}, crons=["0 8 * * *"], zone="UTC")
TIMES = "select crons, t.zone, next_slot from foxtrot.timetables t order by crons, t.zone"


def changed(wish: Wish, **values: Any) -> Wish:
    return Wish(**(vars(wish) | values))


async def store(conn: AsyncConnection, user: User, wish: Wish) -> Put:
    return await put_schedule(conn, REGISTRY, user.id, wish, default_zone="Europe/London")


def put(url: str, user: User, wish: Wish = DAILY) -> Put:
    return on_database(url, lambda conn: store(conn, user, wish))


def new_user(url: str, **values: Any) -> User:
    return on_database(url, lambda conn: make_user(conn, **values))


def read(url: str) -> dict[str, Any]:
    names = ", ".join(Schedule.model_fields)
    (row,) = rows(url, f"select {names} from foxtrot.schedules")
    return dict(zip(Schedule.model_fields, row, strict=True))


def test_a_wish_is_stored_with_all_that_expanding_needs(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, org_id="acme")
    stored = put(clock.url, user, changed(DAILY, spread_seconds=60, catch_up=CatchUp.ALL, note="every morning"))
    schedule = read(clock.url)
    assert stored == Put(schedule["id"], created=True, changed=True)
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
    before = read(clock.url)
    clock.advance(HOUR)
    same = changed(DAILY, crons=["0  8 * * *", "0 8 * * *"], parameters={"query": "python"})
    assert put(clock.url, user, same) == Put(first.id, created=False, changed=False)
    assert read(clock.url) == before


def test_other_parameters_move_neither_slots_nor_effective_from(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    first = put(clock.url, user)
    before = read(clock.url)
    clock.advance(HOUR)
    assert put(clock.url, user, changed(DAILY, parameters={"query": "sql"})) == Put(
        first.id, created=False, changed=True
    )
    after = read(clock.url)
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
    assert read(clock.url)["effective_from"] == AT + HOUR


def test_a_pause_is_dated_and_resuming_counts_from_now(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user)
    clock.freeze(EIGHT)
    put(clock.url, user, changed(DAILY, enabled=False))
    clock.advance(HOUR)
    put(clock.url, user, changed(DAILY, enabled=False, note="on holiday"))
    assert read(clock.url)["paused_at"] == EIGHT
    assert pass_over(clock.url).runs == 0
    clock.advance(HOUR)
    put(clock.url, user)
    assert (read(clock.url)["paused_at"], read(clock.url)["effective_from"]) == (None, EIGHT + 2 * HOUR)
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
        ({"note": "\x00"}, InvalidInputError, "note"),
        ({"spread_seconds": -1}, InvalidInputError, "spread_seconds"),
        ({"spread_seconds": 86_401}, InvalidInputError, "spread_seconds"),
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


def test_what_the_kind_cannot_serve_is_not_scheduled(clock: Clock) -> None:
    def refuse(parameters: Search) -> None:
        if parameters.query == "python":
            raise InvalidInputError("no snakes here", field="parameters.query")

    registry = Registry([replace(REGISTRY.get("demo"), check=refuse)])
    user = new_user(clock.url)

    def wish(query: str) -> Put:
        wanted = changed(DAILY, parameters={"query": query})
        return on_database(
            clock.url, lambda conn: put_schedule(conn, registry, user.id, wanted, default_zone="Europe/London")
        )

    with pytest.raises(InvalidInputError, match="no snakes here"):
        wish("python")
    assert rows(clock.url, "select from foxtrot.schedules") == []
    assert wish("baker").created
    with pytest.raises(InvalidInputError, match="no snakes here"):
        wish("python")
    assert read(clock.url)["parameters"] == {"query": "baker"}


def test_a_user_who_is_not_there_has_no_schedules(clock: Clock) -> None:
    user_id = uuid4()
    with pytest.raises(NotFoundError, match=str(user_id)):
        on_database(clock.url, lambda conn: put_schedule(conn, REGISTRY, user_id, DAILY, default_zone="Europe/London"))


# Races ----------------------------------------------------------------------------------------------------------------


def race(url: str, one: User, other: User) -> list[Put]:
    """Both put the same wish; the other waits for the first, which then commits."""

    async def run() -> list[Put]:
        async with connect(url) as first, connect(url) as second:
            done = await store(first, one, DAILY)
            waiting = asyncio.create_task(store(second, other, DAILY))
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


def test_a_timetable_stays_where_it_is_while_a_schedule_is_about_to_join(clock: Clock) -> None:
    async def scenario() -> None:
        user = await _with_timetable()
        async with connect(clock.url) as first, connect(clock.url) as second, connect(clock.url) as third:
            await store(first, user, changed(DAILY, crons=["0 9 * * *"]))
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

    async def _with_timetable() -> User:
        async with connect(clock.url) as conn:
            await make_timetable(conn, next_slot=EIGHT)
            return await make_user(conn)

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
