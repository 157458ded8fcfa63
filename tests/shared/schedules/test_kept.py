import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from shared.errors import InvalidInputError
from shared.fingerprint import fingerprint
from shared.kinds import Kind
from shared.models import User
from shared.schedules import Enrolled, Put, Rules, daily, enroll_some, keep_search
from shared.schedules.kept import FIRST
from shared.users import act_as
from tests.clock import Clock
from tests.scheduler.support import DEMO, Search, on_database, pass_over, rows, slots
from tests.shared.schedules.support import (
    AT,
    DAILY,
    EIGHT,
    HOUR,
    RULES,
    as_service,
    as_user,
    changed,
    edit,
    new_user,
    put,
    shown,
    stored,
    table,
)
from tests.support import connect, make_run, make_schedule, make_timetable, make_user, wait_for_lock

CRONS = daily(["08:00", "16:45"])
KEPT = "kept:demo"


def keep(url: str, user: User, query: str, *, rules: Rules = RULES, crons: list[str] = CRONS) -> Put:
    return as_user(
        url, user, lambda conn: keep_search(conn, user.id, DEMO, Search(query=query), crons=crons, rules=rules)
    )


def test_a_first_search_is_kept_at_the_refresh_times_where_the_user_is(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, zone="Asia/Tokyo", org_id="acme")
    kept = keep(clock.url, user, "baker")
    schedule = shown(clock.url, user, KEPT)
    assert kept == Put(schedule.id, created=True, changed=True)
    assert (schedule.kind, schedule.parameters, schedule.enabled) == ("demo", {"query": "baker"}, True)
    assert (schedule.crons, schedule.zone, schedule.timetable_zone) == (
        ["0 8 * * *", "45 16 * * *"],
        "user",
        "Asia/Tokyo",
    )
    assert stored(clock.url)["fingerprint"] == fingerprint("demo", "acme", Search(query="baker"))


def test_where_the_user_is_not_known_it_is_the_default_zone(clock: Clock) -> None:
    user = new_user(clock.url)
    keep(clock.url, user, "baker")
    assert shown(clock.url, user, KEPT).timetable_zone == "Europe/London"


def test_another_search_moves_the_parameters_and_nothing_else(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, zone="UTC")
    first = keep(clock.url, user, "baker")
    times = {"crons": ["30 9 * * 1"], "zone": "Asia/Tokyo", "spread_seconds": 60, "catch_up": "none", "enabled": False}
    edit(clock.url, user, times | {"note": "my own"}, KEPT)
    before = stored(clock.url)
    clock.advance(HOUR)
    assert keep(clock.url, user, "cook") == Put(first.id, created=False, changed=True)
    after = stored(clock.url)
    assert after["parameters"] == {"query": "cook"}
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"parameters", "fingerprint", "updated_at"}


def test_the_same_search_changes_nothing(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url)
    first = keep(clock.url, user, "baker")
    before = stored(clock.url)
    clock.advance(HOUR)
    assert keep(clock.url, user, "baker", crons=daily(["12:00"])) == Put(first.id, created=False, changed=False)
    assert stored(clock.url) == before


def test_slots_go_on_with_the_last_criteria(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, zone="UTC")
    keep(clock.url, user, "baker")
    clock.freeze(EIGHT - timedelta(seconds=1))
    keep(clock.url, user, "cook")
    clock.freeze(EIGHT)
    pass_over(clock.url)
    assert slots(clock.url, user.id) == [EIGHT]
    assert rows(clock.url, "select parameters from foxtrot.runs") == [({"query": "cook"},)]


def test_what_is_kept_takes_no_place_of_the_users_own(clock: Clock) -> None:
    one = replace(RULES, at_most=1)
    user = new_user(clock.url)
    assert keep(clock.url, user, "baker", rules=one).created
    assert put(clock.url, user, rules=one).created
    other = new_user(clock.url)
    put(clock.url, other, rules=one)
    assert keep(clock.url, other, "baker", rules=one).created


def test_a_kept_search_is_put_like_any_other_once_it_is_there(clock: Clock) -> None:
    user = new_user(clock.url)
    kept = keep(clock.url, user, "baker")
    assert put(clock.url, user, changed(DAILY, key=KEPT)) == Put(kept.id, created=False, changed=True)


def test_two_searches_at_once_keep_the_second(clock: Clock) -> None:
    async def one(conn: AsyncConnection, query: str) -> Put:
        await act_as(conn, user.id)
        return await keep_search(conn, user.id, DEMO, Search(query=query), crons=CRONS, rules=RULES)

    async def race() -> tuple[Put, Put]:
        async with connect(clock.url) as first, connect(clock.url) as second:
            done = await one(first, "baker")
            waiting = asyncio.create_task(one(second, "cook"))
            await wait_for_lock(clock.url, second.info.backend_pid)
            await first.commit()
            return done, await waiting

    user = new_user(clock.url)
    keep(clock.url, new_user(clock.url), "driver")  # the timetable is there, so they meet at the schedule
    made, then = asyncio.run(race())
    assert then == Put(made.id, created=False, changed=True)
    assert shown(clock.url, user, KEPT).parameters == {"query": "cook"}


# Enrolling ------------------------------------------------------------------------------------------------------------


def enroll(
    url: str, *, kind: Kind[Any, Any] = DEMO, dry_run: bool = False, after: UUID = FIRST, at_most: int = 500
) -> Enrolled:
    async def some(conn: AsyncConnection) -> Enrolled:
        return await enroll_some(conn, kind, crons=CRONS, rules=RULES, dry_run=dry_run, after=after, at_most=at_most)

    return as_service(url, some)


def ran(url: str, user: User, query: Any = "baker", status: str = "success", **values: Any) -> None:
    on_database(url, lambda conn: make_run(conn, user, status, parameters={"query": query}, **values))


def test_whoever_only_ran_it_by_hand_is_enrolled_with_their_last_search(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, zone="Asia/Tokyo")
    for query in ("baker", "cook", "driver"):
        ran(clock.url, user, query)
        clock.advance(timedelta(minutes=1))
    ran(clock.url, user, "welder", "failed")
    ran(clock.url, user, "joiner", "running")
    assert enroll(clock.url) == Enrolled(schedules=1, refused=[], last=None)
    schedule = shown(clock.url, user, KEPT)
    assert (schedule.parameters, schedule.zone, schedule.timetable_zone) == ({"query": "driver"}, "user", "Asia/Tokyo")
    assert schedule.crons == ["0 8 * * *", "45 16 * * *"]


@pytest.mark.parametrize(
    "run",
    [
        {"status": "failed"},
        {"status": "cancelled"},
        {"status": "pending"},
        {"source": "cron"},
        {"source": "backfill"},
        {"kind": "other"},
        {"expires_at": AT},
    ],
    ids=lambda run: next(iter(run.values())),
)
def test_whoever_has_no_success_by_hand_that_can_be_read_is_not(clock: Clock, run: dict[str, Any]) -> None:
    clock.freeze(AT)
    ran(clock.url, new_user(clock.url), **run)
    assert enroll(clock.url) == Enrolled()
    assert table(clock.url, "schedules") == []


def test_whoever_has_a_schedule_of_the_kind_is_not_even_when_it_is_paused(clock: Clock) -> None:
    async def schedules(conn: AsyncConnection) -> None:
        timetable = await make_timetable(conn)
        await make_schedule(conn, has_one, timetable, enabled=False, paused_at=AT)
        await make_schedule(conn, has_another, timetable, kind="other")

    clock.freeze(AT)
    has_one, has_another = new_user(clock.url), new_user(clock.url)
    for user in (has_one, has_another):
        ran(clock.url, user)
    on_database(clock.url, schedules)
    assert enroll(clock.url).schedules == 1
    assert shown(clock.url, has_another, KEPT).kind == "demo"


def test_enrolling_again_enrolls_nobody(clock: Clock) -> None:
    ran(clock.url, new_user(clock.url))
    assert [enroll(clock.url).schedules for _ in range(2)] == [1, 0]


def test_a_dry_run_counts_and_stores_nothing(clock: Clock) -> None:
    for _ in range(2):
        ran(clock.url, new_user(clock.url))
    assert enroll(clock.url, dry_run=True).schedules == 2
    assert (table(clock.url, "schedules"), table(clock.url, "timetables")) == ([], [])


@pytest.mark.parametrize("dry_run", [True, False])
def test_users_are_taken_page_by_page_in_the_order_of_their_ids(clock: Clock, *, dry_run: bool) -> None:
    async def searchers(conn: AsyncConnection) -> list[UUID]:
        users = [await make_user(conn) for _ in range(5)]
        for user in users:
            await make_run(conn, user, "success")
        return sorted(user.id for user in users)

    ids = on_database(clock.url, searchers)
    pages, after = [], FIRST
    for _ in range(3):
        some = enroll(clock.url, dry_run=dry_run, after=after, at_most=2)
        pages.append((some.schedules, some.last))
        after = some.last or after
    assert pages == [(2, ids[1]), (2, ids[3]), (1, None)]
    enrolled = rows(clock.url, "select user_id from foxtrot.schedules order by user_id")
    assert enrolled == ([] if dry_run else [(each,) for each in ids])


def refuse_bakers(parameters: Search) -> None:
    if parameters.query == "baker":
        raise InvalidInputError("no bakers any more")


@pytest.mark.parametrize("query", [{"no": "text"}, "baker"])
def test_whoever_searched_for_what_can_no_longer_be_is_named_and_left_out(clock: Clock, query: Any) -> None:
    user, other = new_user(clock.url), new_user(clock.url)
    ran(clock.url, user, query)
    ran(clock.url, other, "cook")
    assert enroll(clock.url, kind=replace(DEMO, check=refuse_bakers)) == Enrolled(schedules=1, refused=[user.id])
    assert stored(clock.url)["user_id"] == other.id
