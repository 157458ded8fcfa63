import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure, UniqueViolation
from psycopg_pool import AsyncConnectionPool

from cli.postgres import EmbeddedPostgres
from shared.db import TRIES, Timeouts, connect, describe, fetch_all, fetch_one, in_transaction, load_sql, open_pool
from shared.errors import DatabaseError

# What a server says to a client that may come in, with the key that it can be let off by, and when it lets it off.
GREETING = b"R\0\0\0\x08\0\0\0\0" + b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x01" + b"Z\0\0\0\x05I"
LET_OFF = b"E\0\0\0\x18SERROR\0C57014\0Moff\0\0" + b"Z\0\0\0\x05I"
NUMBERS = b"select n from generate_series(1, %(last)s) as n"


@dataclass(frozen=True)
class Number:
    n: int


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> str:
    """A database with the table `number`, empty."""
    with psycopg.connect(postgres.url) as conn:
        conn.execute("create table if not exists public.number (n int primary key)")
        conn.execute("truncate public.number")
    return postgres.url


def numbers(url: str) -> list[int]:
    with psycopg.connect(url) as conn:
        return [n for (n,) in conn.execute("select n from public.number order by n").fetchall()]


@asynccontextmanager
async def pool_of(url: str, size: int = 2, **options: Any) -> AsyncIterator[AsyncConnectionPool]:
    async with open_pool(url, "test", size=size, **options) as pool:
        yield pool


async def insert(conn: AsyncConnection, n: int) -> None:
    await conn.execute("insert into public.number values (%s)", [n])


# Connections ----------------------------------------------------------------------------------------------------------


def test_a_connection_has_a_name_and_limits_and_prepares_only_what_asks_for_it(url: str) -> None:
    async def main() -> None:
        limits = Timeouts(statement=7, lock=0.5, idle_in_transaction=9)
        async with pool_of(url, timeouts=limits) as pool, pool.connection() as conn:
            cursor = await conn.execute(
                "select current_setting('application_name'), current_setting('statement_timeout'),"
                " current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
            )
            assert await cursor.fetchone() == ("foxtrot-test", "7s", "500ms", "9s")
            for _ in range(20):
                await conn.execute("select 1")
            await conn.execute("select 2", prepare=True)
            prepared = await conn.execute("select statement from pg_prepared_statements")
            assert await prepared.fetchall() == [("select 2",)]
        async with await connect(url, "alone") as conn:
            row = await (await conn.execute("show application_name")).fetchone()
            assert row == ("foxtrot-alone",)
            assert conn.autocommit

    asyncio.run(main())


@pytest.fixture
def nowhere() -> str:
    """The URL of a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"postgresql://ada:secret@127.0.0.1:{sock.getsockname()[1]}/app"


def test_a_server_that_can_not_be_reached_is_named_without_its_password(nowhere: str) -> None:
    with pytest.raises(DatabaseError, match=r"can't connect to 127\.0\.0\.1:\d+/app: .*refused") as raised:
        asyncio.run(connect(nowhere, "test"))
    assert "secret" not in raised.value.message
    assert raised.value.hint == "Check DATABASE_URL and that the server answers."


@pytest.mark.slow
def test_a_connection_whose_opening_is_cancelled_is_closed() -> None:
    asked, left = asyncio.Event(), asyncio.Event()
    clients: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet the client and let it wait for its first answer, which is an error once it asks to be let off."""
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        clients.append(writer)
        if len(clients) > 1:
            clients[0].write(LET_OFF)
            return writer.close()
        writer.write(GREETING)
        await reader.readexactly(1)
        asked.set()
        await reader.read()
        left.set()
        return writer.close()

    async def main() -> None:
        async with asyncio.timeout(10), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"postgresql://me@127.0.0.1:{port}/mine?sslmode=disable&gssencmode=disable"
            opening = asyncio.create_task(connect(url, "test"))
            await asked.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await left.wait()

    asyncio.run(main())
    gc.collect()


def test_a_pool_that_can_not_be_opened_says_so(nowhere: str) -> None:
    async def main() -> None:
        async with pool_of(nowhere):
            pass

    with pytest.raises(DatabaseError, match=r"can't connect to 127\.0\.0\.1:\d+/app"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "described"),
    [
        ("postgresql://ada:secret@db.example:6543/app", "db.example:6543/app"),
        ("postgres://db.example/app", "db.example:5432/app"),
        ("postgresql:///app", "local socket:5432/app"),
        ("postgresql://ada:sec ret@[", "DATABASE_URL"),
    ],
)
def test_a_database_is_described_without_its_password(url: str, described: str) -> None:
    assert describe(url) == described


# Transactions ---------------------------------------------------------------------------------------------------------


def test_work_is_committed_and_its_result_returned(url: str) -> None:
    async def work(conn: AsyncConnection) -> str:
        await insert(conn, 1)
        return "done"

    async def main() -> None:
        async with pool_of(url) as pool:
            assert await in_transaction(pool, work) == "done"

    asyncio.run(main())
    assert numbers(url) == [1]


def test_an_error_of_the_work_undoes_it_and_is_not_repeated(url: str) -> None:
    calls = []

    async def work(conn: AsyncConnection) -> None:
        calls.append(1)
        await insert(conn, 1)
        await insert(conn, 1)

    async def main() -> None:
        async with pool_of(url) as pool:
            await in_transaction(pool, work)

    with pytest.raises(UniqueViolation):
        asyncio.run(main())
    assert (calls, numbers(url)) == ([1], [])


def test_a_lock_that_was_not_to_be_had_is_tried_for_again(url: str) -> None:
    calls = []

    async def main() -> None:
        async with pool_of(url, timeouts=Timeouts(lock=0.01)) as pool, await AsyncConnection.connect(url) as holder:
            await insert(holder, 1)

            async def work(conn: AsyncConnection) -> None:
                calls.append(1)
                if len(calls) == 2:
                    await holder.rollback()
                await insert(conn, 2)
                await insert(conn, 1)

            await in_transaction(pool, work)

    asyncio.run(main())
    assert (len(calls), numbers(url)) == (2, [1, 2])


def test_of_two_in_a_deadlock_both_get_through(url: str) -> None:
    async def main() -> None:
        async with pool_of(url) as pool:
            arrived = asyncio.Barrier(2)
            tries = 0

            async def work(conn: AsyncConnection, first: int, second: int) -> None:
                nonlocal tries
                tries += 1
                await insert(conn, first)
                if tries <= 2:
                    await arrived.wait()
                await insert(conn, second)
                await conn.execute("delete from public.number")

            await asyncio.gather(
                in_transaction(pool, lambda conn: work(conn, 1, 2)), in_transaction(pool, lambda conn: work(conn, 2, 1))
            )
            assert tries == 3

    asyncio.run(main())


@pytest.mark.parametrize("error", [SerializationFailure, DeadlockDetected, LockNotAvailable])
def test_what_keeps_failing_is_given_up(url: str, error: type[psycopg.Error]) -> None:
    calls = []

    async def work(conn: AsyncConnection) -> None:
        calls.append(1)
        raise error

    async def main() -> None:
        async with pool_of(url) as pool:
            await in_transaction(pool, work)

    with pytest.raises(error):
        asyncio.run(main())
    assert len(calls) == TRIES


def test_an_answer_that_does_not_come_in_time_is_an_error_and_the_connection_lives_on(url: str) -> None:
    async def main() -> None:
        async with pool_of(url, size=1) as pool, await AsyncConnection.connect(url) as holder:
            await insert(holder, 1)
            with pytest.raises(DatabaseError, match=r"Postgres did not answer within 0\.1 s"):
                await in_transaction(pool, lambda conn: insert(conn, 1), deadline=0.1)
            await holder.rollback()
            await in_transaction(pool, lambda conn: insert(conn, 1))

    asyncio.run(main())
    assert numbers(url) == [1]


def test_a_pool_with_no_connection_left_is_an_error_in_time(url: str) -> None:
    async def main() -> None:
        async with pool_of(url, size=1) as pool, pool.connection():
            with pytest.raises(DatabaseError, match="did not answer"):
                await in_transaction(pool, lambda conn: insert(conn, 1), deadline=0.05)

    asyncio.run(main())


@pytest.mark.slow
def test_a_server_that_stands_still_is_an_error_in_time(url: str) -> None:
    async def main() -> None:
        async with pool_of(url, size=1) as pool:
            async with pool.connection() as conn:
                pid = conn.info.backend_pid
            os.kill(pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(20):
                    with pytest.raises(DatabaseError, match="did not answer"):
                        await in_transaction(pool, lambda conn: insert(conn, 1), deadline=0.1)
            finally:
                os.kill(pid, signal.SIGCONT)
            await in_transaction(pool, lambda conn: insert(conn, 1))

    asyncio.run(main())


# Statements -----------------------------------------------------------------------------------------------------------


def test_a_statement_lies_beside_its_module(tmp_path: Path) -> None:
    (tmp_path / "take.sql").write_text("-- Take: one.\nselect 'Zoë'", encoding="utf-8")
    assert load_sql(str(tmp_path / "take.py"), "take") == "-- Take: one.\nselect 'Zoë'".encode()
    with pytest.raises(FileNotFoundError):
        load_sql(str(tmp_path / "take.py"), "give")


def test_rows_come_back_as_what_was_asked_for(url: str) -> None:
    async def main() -> None:
        async with await connect(url, "test") as conn:
            assert await fetch_all(conn, NUMBERS, {"last": 3}, Number) == [Number(1), Number(2), Number(3)]
            assert await fetch_all(conn, NUMBERS, {"last": 0}, Number) == []
            assert await fetch_one(conn, NUMBERS, {"last": 3}, Number) == Number(1)
            assert await fetch_one(conn, NUMBERS, {"last": 0}, Number) is None

    asyncio.run(main())


def test_a_statement_is_planned_with_its_values_each_time(url: str) -> None:
    async def main() -> None:
        async with await connect(url, "test") as conn:
            for last in range(10):
                await fetch_all(conn, NUMBERS, {"last": last}, Number)
            cursor = await conn.execute("select count(*) from pg_prepared_statements")
            assert await cursor.fetchone() == (0,)

    asyncio.run(main())


def test_where_statements_are_planned_once_plans_are_kept_and_read_by_index(url: str) -> None:
    async def main() -> None:
        async with pool_of(url, size=1, planned_once=True) as pool, pool.connection() as conn:
            for n in (1, 2):
                cursor = await conn.execute("select n from public.number where n = %s", [n])
                assert await cursor.fetchall() == []
            plans = await conn.execute("select generic_plans, custom_plans from pg_prepared_statements")
            assert await plans.fetchone() == (2, 0)
            plan = await conn.execute("explain select n from public.number where n = 1", prepare=False)
            assert "Index" in str(await plan.fetchall())

    asyncio.run(main())
