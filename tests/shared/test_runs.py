import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from shared.kinds import Status
from shared.models import User
from shared.runs import NEWEST, ReadRun, find_run, list_runs
from tests.clock import Clock
from tests.support import connect, make_run, make_user

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def find(url: str, run_id: UUID, user_id: UUID) -> ReadRun | None:
    async with connect(url) as conn:
        return await find_run(conn, run_id, user_id)


async def ids(url: str, user: User, *, before: UUID = NEWEST, limit: int = 50, kind: str | None = None) -> list[UUID]:
    async with connect(url) as conn:
        return [run.id for run in await list_runs(conn, user.id, before=before, limit=limit, kind=kind)]


async def neighbours(conn: AsyncConnection) -> list[User]:
    """Two users of one bucket, so that nothing but the user tells their rows apart."""
    return [await make_user(conn, id=UUID(int=uuid4().int & ~63)) for _ in range(2)]


def test_a_run_is_read_as_it_stands_and_when(clock: Clock) -> None:
    async def main() -> None:
        async with connect(clock.url) as conn:
            user = await make_user(conn)
            run = await make_run(conn, user, "running", percent=40)
        found = await find(clock.url, run.id, user.id)
        assert found is not None
        assert (found.status, found.percent, found.live, found.read_at) == (Status.RUNNING, 40, True, NOON)

    clock.freeze(NOON)
    asyncio.run(main())


def test_missing_expired_and_another_users_run_are_the_same_nothing(clock: Clock) -> None:
    async def main() -> None:
        async with connect(clock.url) as conn:
            ada, grace = await neighbours(conn)
            hers = await make_run(conn, grace)
            old = await make_run(conn, ada, "success", expires_at=NOON)
        for run_id in (uuid4(), hers.id, old.id):
            assert await find(clock.url, run_id, ada.id) is None

    clock.freeze(NOON)
    asyncio.run(main())


def test_the_list_is_newest_first_and_a_users_own(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            ada, grace = await neighbours(conn)
            made = [(await make_run(conn, ada, status)).id for status in Status]
            await make_run(conn, grace)
        assert await ids(database_url, ada) == sorted(made, reverse=True)

    asyncio.run(main())


def test_pages_follow_on_while_runs_are_made(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            user = await make_user(conn)
            made = sorted([(await make_run(conn, user, "success")).id for _ in range(5)], reverse=True)
        first = await ids(database_url, user, limit=2)
        async with connect(database_url) as conn:
            await make_run(conn, user)
        second = await ids(database_url, user, limit=2, before=first[-1])
        third = await ids(database_url, user, limit=2, before=second[-1])
        assert [*first, *second, *third] == made

    asyncio.run(main())


def test_the_list_can_be_held_to_statuses_and_a_kind(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            user = await make_user(conn)
            runs = {status: await make_run(conn, user, status, kind=f"{status}_kind") for status in Status}
            wanted = {Status.PENDING, Status.FAILED}
            listed = await list_runs(conn, user.id, statuses=wanted)
            assert {run.status for run in listed} == wanted
            assert await list_runs(conn, user.id, statuses=wanted, kind="success_kind") == []
        assert await ids(database_url, user, kind="failed_kind") == [runs[Status.FAILED].id]

    asyncio.run(main())


def test_the_list_leaves_results_out(database_url: str) -> None:
    async def main() -> None:
        async with connect(database_url) as conn:
            user = await make_user(conn)
            run = await make_run(conn, user, "success", result={"big": "x" * 1000}, headline="12 jobs")
            listed = await list_runs(conn, user.id)
            found = await find_run(conn, run.id, user.id)
        assert (listed[0].result, listed[0].headline) == (None, "12 jobs")
        assert found is not None
        assert found.result == {"big": "x" * 1000}

    asyncio.run(main())
