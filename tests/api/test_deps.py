import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from api.deps import Services, UserDatabase
from shared.db import open_pool
from shared.errors import DatabaseError
from shared.queue import NewRun
from shared.schedules import Put, Rules, Wish, find_schedule, put_schedule
from shared.tokens import Claims
from shared.wake import Waker
from tests.api.conftest import REGISTRY, on_database, settings
from tests.support import make_run, make_schedule, make_timetable, make_user

T = TypeVar("T")


def as_user(
    url: str, claims: Claims, work: Callable[[AsyncConnection], Awaitable[T]], *, seen: tuple[bool, ...] = (True,)
) -> T:
    """What `work` returns when one process of the API does it for somebody, the last time if more than once."""

    async def main() -> T:
        async with open_pool(url, "api", size=1) as pool:
            services = Services(settings(request_timeout_seconds=1), url, REGISTRY, pool, Waker(pool))
            for each in seen:
                result = await UserDatabase(services, claims, seen=each).transact(work)
            await services.waker.close()
            return result

    return asyncio.run(main())


def test_row_level_security_is_the_second_wall(database_url: str) -> None:
    async def given(conn: AsyncConnection) -> Claims:
        ada, grace = await make_user(conn), await make_user(conn)
        for user in (ada, grace):
            await make_run(conn, user, "success")
            await make_run(conn, user, "running")
        return Claims(ada.id)

    async def carelessly(conn: AsyncConnection) -> list[tuple[int, ...]]:
        cursor = await conn.execute("""
            select (select count(*) from foxtrot.runs), (select count(*) from foxtrot.queue),
                (select count(*) from foxtrot.run_status), (select count(*) from foxtrot.users)
        """)
        return await cursor.fetchall()

    ada = on_database(database_url, given)
    assert as_user(database_url, ada, carelessly) == [(2, 1, 2, 1)]
    assert on_database(database_url, carelessly) == [(4, 2, 4, 2)]


def test_the_role_can_t_look_past_it(database_url: str) -> None:
    async def role(conn: AsyncConnection) -> tuple[str, bool, bool] | None:
        cursor = await conn.execute(
            "select rolname::text, rolsuper, rolbypassrls from pg_roles where rolname = current_user"
        )
        return await cursor.fetchone()

    assert as_user(database_url, Claims(uuid4()), role) == ("foxtrot_api", False, False)


def test_what_fails_is_undone_with_the_user(database_url: str) -> None:
    async def fail(conn: AsyncConnection) -> None:
        await conn.execute("select 1 / 0")

    async def users(conn: AsyncConnection) -> tuple[int, ...] | None:
        return await (await conn.execute("select count(*) from foxtrot.users")).fetchone()

    with pytest.raises(errors.DivisionByZero):
        as_user(database_url, Claims(uuid4()), fail)
    assert on_database(database_url, users) == (0,)


def test_what_takes_too_long_is_given_up(database_url: str) -> None:
    async def wait(_conn: AsyncConnection) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DatabaseError, match="did not answer within 1 s"):
        as_user(database_url, Claims(uuid4()), wait)


# Who is back ----------------------------------------------------------------------------------------------------------

STATES = """
select key, dormant, enabled, (select count(*) from foxtrot.runs where schedule_id = s.id and source = 'manual')
from foxtrot.schedules s
order by key
"""


async def states(conn: AsyncConnection) -> list[tuple[str, bool, bool, int]]:
    """Key, dormant, enabled and how many runs at once, of the schedules that can be seen."""
    return [
        (key, dormant, enabled, runs) for key, dormant, enabled, runs in await (await conn.execute(STATES)).fetchall()
    ]


async def away(conn: AsyncConnection) -> Claims:
    """Somebody with dormant schedules, one of them paused, next to somebody else with one."""
    ada, grace = await make_user(conn), await make_user(conn)
    timetable = await make_timetable(conn)
    dormant: dict[str, Any] = {"dormant": True, "parameters": {"text": "hi"}}
    await make_schedule(conn, ada, timetable, key="a", **dormant)
    await make_schedule(conn, ada, timetable, key="b", **dormant)
    await make_schedule(conn, ada, timetable, key="paused", enabled=False, paused_at=timetable.next_slot, **dormant)
    await make_schedule(conn, grace, timetable, key="grace", **dormant)
    return Claims(ada.id)


def test_the_first_request_of_somebody_who_is_back_wakes_their_schedules(database_url: str) -> None:
    ada = on_database(database_url, away)
    awake = [("a", False, True, 1), ("b", False, True, 1), ("paused", False, False, 0)]
    assert as_user(database_url, ada, states) == awake
    assert on_database(database_url, states) == [*awake[:2], ("grace", True, True, 0), awake[2]]


def test_what_a_page_repeats_by_itself_wakes_nothing(database_url: str) -> None:
    ada = on_database(database_url, away)
    asleep = [("a", True, True, 0), ("b", True, True, 0), ("paused", True, False, 0)]
    assert as_user(database_url, ada, states, seen=(False, False)) == asleep
    assert as_user(database_url, ada, states, seen=(False, True))[0] == ("a", False, True, 1)


def test_the_requests_after_it_look_for_nothing_to_wake(database_url: str) -> None:
    async def fall_asleep(conn: AsyncConnection) -> list[tuple[str, bool, bool, int]]:
        before = await states(conn)
        await conn.execute("update foxtrot.schedules set dormant = true where key = 'a'")
        return before

    ada = on_database(database_url, away)
    assert as_user(database_url, ada, fall_asleep, seen=(True, True))[0] == ("a", True, True, 1)


def test_what_fails_is_undone_with_the_waking_and_done_by_the_next(database_url: str) -> None:
    async def fail(conn: AsyncConnection) -> None:
        await conn.execute("select 1 / 0")

    ada = on_database(database_url, away)
    with pytest.raises(errors.DivisionByZero):
        as_user(database_url, ada, fail)
    assert on_database(database_url, states)[0] == ("a", True, True, 0)
    assert as_user(database_url, ada, states)[0] == ("a", False, True, 1)


def test_a_token_that_says_for_the_first_time_where_somebody_is_moves_what_follows_them(database_url: str) -> None:
    async def put(conn: AsyncConnection) -> Put:
        wish = Wish("mine", "demo", {"text": "hi"}, ["0 8 * * *"])
        return await put_schedule(conn, REGISTRY, user_id, wish, rules=Rules("Europe/London"))

    async def zone(conn: AsyncConnection) -> str:
        return (await find_schedule(conn, user_id, "mine")).timetable_zone

    user_id = uuid4()
    as_user(database_url, Claims(user_id), put)
    assert as_user(database_url, Claims(user_id), zone) == "Europe/London"
    assert as_user(database_url, Claims(user_id, zone="Asia/Tokyo"), zone) == "Asia/Tokyo"
    assert as_user(database_url, Claims(user_id, zone="Europe/Paris"), zone) == "Asia/Tokyo"  # only the user moves them


def test_who_comes_from_another_org_brings_their_schedules_along(database_url: str) -> None:
    async def put(conn: AsyncConnection) -> Put:
        wish = Wish("mine", "demo", {"text": "hi"}, ["0 8 * * *"])
        return await put_schedule(conn, REGISTRY, user_id, wish, rules=Rules("Europe/London"))

    async def work(conn: AsyncConnection) -> tuple[str | None, bytes]:
        query = "select org_id, fingerprint from foxtrot.schedules where user_id = %s"
        row = await (await conn.execute(query, [user_id])).fetchone()
        assert row is not None
        return row

    def by_hand(org_id: str | None) -> tuple[str | None, bytes]:
        kind = REGISTRY.get("demo")
        return org_id, NewRun.of(kind, kind.parse({"text": "hi"}), user_id=user_id, org_id=org_id).fingerprint

    user_id = uuid4()
    as_user(database_url, Claims(user_id, org_id="acme"), put)
    assert as_user(database_url, Claims(user_id, org_id="acme"), work) == by_hand("acme")
    assert as_user(database_url, Claims(user_id, org_id="initech"), work) == by_hand("initech")
    assert as_user(database_url, Claims(user_id), work) == by_hand(None)


def test_workers_are_woken_for_who_is_back(database_url: str) -> None:
    async def main(claims: Claims) -> str:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
            await conn.execute("listen foxtrot_queue")
            await asyncio.to_thread(as_user, database_url, claims, states)
            async for notice in conn.notifies(timeout=5):
                return notice.channel
        return "nobody was woken"

    assert asyncio.run(main(on_database(database_url, away))) == "foxtrot_queue"
