import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

import pytest
from psycopg import AsyncConnection, errors

from api.deps import Services, UserDatabase
from shared.db import open_pool
from shared.errors import DatabaseError
from shared.tokens import Claims
from shared.wake import Waker
from tests.api.conftest import REGISTRY, on_database, settings
from tests.support import make_run, make_user

T = TypeVar("T")


def as_user(url: str, claims: Claims, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` returns when the API does it for somebody."""

    async def main() -> T:
        async with open_pool(url, "api", size=1) as pool:
            services = Services(settings(request_timeout_seconds=1), url, REGISTRY, pool, Waker(pool))
            return await UserDatabase(services, claims, seen=True).transact(work)

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
