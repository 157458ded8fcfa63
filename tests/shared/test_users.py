import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from shared.db import fetch_one
from shared.models import User
from shared.users import act_as, upsert_user
from tests.clock import Clock
from tests.support import connect, make_run, make_user

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def upsert(url: str, user_id: UUID, **values: Any) -> User:
    async def main() -> User:
        async with connect(url) as conn:
            await upsert_user(conn, user_id, **values)
            user = await fetch_one(conn, b"select * from foxtrot.users where id = %(id)s", {"id": user_id}, User)
        assert user is not None
        return user

    return asyncio.run(main())


def test_a_new_user_is_added(clock: Clock) -> None:
    clock.freeze(NOON)
    user = upsert(clock.url, uuid4(), org_id="acme", email="ada@example.org", zone="Asia/Tokyo", seen=True)
    assert (user.org_id, user.email, user.zone, user.role) == ("acme", "ada@example.org", "Asia/Tokyo", "user")
    assert user.last_seen_at == NOON


def test_a_user_who_was_only_polled_for_has_not_been_seen(clock: Clock) -> None:
    assert upsert(clock.url, uuid4()).last_seen_at is None


def test_last_seen_moves_at_most_once_an_hour(clock: Clock) -> None:
    clock.freeze(NOON)
    user_id = upsert(clock.url, uuid4(), seen=True).id
    clock.advance(HOUR - timedelta(seconds=1))
    assert upsert(clock.url, user_id, seen=True, email="new@example.org").last_seen_at == NOON
    clock.advance(timedelta(seconds=1))
    assert upsert(clock.url, user_id, seen=False).last_seen_at == NOON
    assert upsert(clock.url, user_id, seen=True).last_seen_at == NOON + HOUR


def test_what_is_new_is_taken_over_and_what_is_not_said_stays(clock: Clock) -> None:
    user_id = upsert(clock.url, uuid4(), org_id="acme", email="ada@example.org").id
    user = upsert(clock.url, user_id)
    assert (user.org_id, user.email) == (None, "ada@example.org")


def test_a_zone_is_taken_over_once(clock: Clock) -> None:
    user_id = upsert(clock.url, uuid4()).id
    assert upsert(clock.url, user_id, zone="Asia/Tokyo").zone == "Asia/Tokyo"
    assert upsert(clock.url, user_id, zone="Europe/London", email="new@example.org").zone == "Asia/Tokyo"


def test_nothing_new_writes_nothing(database_url: str) -> None:
    async def version(user_id: UUID) -> str:
        async with connect(database_url) as conn:
            await upsert_user(conn, user_id, email="ada@example.org", seen=True)
            cursor = await conn.execute("select xmin::text from foxtrot.users where id = %s", [user_id])
            row = await cursor.fetchone()
        assert row is not None
        return str(row[0])

    user_id = uuid4()
    assert asyncio.run(version(user_id)) == asyncio.run(version(user_id))


@pytest.mark.parametrize("table", ["runs", "queue", "users", "run_status"])
def test_acting_as_a_user_shows_their_rows_only_to_statements_that_name_nobody(database_url: str, table: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            ada, grace = await make_user(conn), await make_user(conn)
            for user in (ada, grace, grace):
                await make_run(conn, user)
        for user, expected in ((ada, 1), (grace, 1 if table == "users" else 2)):
            async with connect(database_url) as conn:
                await act_as(conn, user.id)
                cursor = await conn.execute(f"select count(*) from foxtrot.{table}")
                assert await cursor.fetchone() == (expected,)

    asyncio.run(main())


def test_acting_as_a_user_can_not_write_for_another(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            ada, grace = await make_user(conn), await make_user(conn)
        async with connect(database_url) as conn:
            await act_as(conn, ada.id)
            with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
                await upsert_user(conn, uuid4())
        async with connect(database_url) as conn:
            await act_as(conn, ada.id)
            cursor = await conn.execute("update foxtrot.users set email = 'x' where id = %s", [grace.id])
            assert cursor.rowcount == 0

    asyncio.run(main())


def test_acting_ends_with_the_transaction(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            await act_as(conn, uuid4())
            await conn.commit()
            cursor = await conn.execute("select current_user = session_user, foxtrot.current_user_id()")
            assert await cursor.fetchone() == (True, None)

    asyncio.run(main())
