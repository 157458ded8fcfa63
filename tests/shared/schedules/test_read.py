from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from shared.errors import NotFoundError
from shared.models import Schedule, User
from shared.schedules import find_schedule, list_schedules
from shared.users import act_as
from tests.clock import Clock
from tests.scheduler.support import on_database
from tests.support import make_run, make_schedule, make_timetable, make_user

NOW = datetime(2031, 3, 30, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def scheduled(conn: AsyncConnection, **values: Any) -> tuple[User, Schedule]:
    user = await make_user(conn)
    timetable = await make_timetable(conn, zone="Asia/Tokyo", next_slot=NOW + HOUR)
    return user, await make_schedule(conn, user, timetable, **{"zone": "user", "key": "b"} | values)


def test_a_schedule_is_read_with_its_timetable_and_next_slot(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, schedule = await scheduled(conn, parameters={"query": "python"}, note="mine")
        (read,) = await list_schedules(conn, user.id)
        assert (read.id, read.key, read.parameters, read.note) == (schedule.id, "b", {"query": "python"}, "mine")
        assert (read.zone, read.timetable_zone, read.crons) == ("user", "Asia/Tokyo", ["0 8 * * *"])
        assert read.next_slot == NOW + HOUR
        assert (read.last_success_at, read.headline, read.found, read.new) == (None, None, None, None)

    clock.freeze(NOW)
    on_database(clock.url, scenario)


def test_a_schedule_that_rests_has_no_next_slot(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, _ = await scheduled(conn, enabled=False, paused_at=NOW)
        timetable = await make_timetable(conn)
        await make_schedule(conn, user, timetable, key="dormant", dormant=True)
        assert [read.next_slot for read in await list_schedules(conn, user.id)] == [None, None]

    on_database(clock.url, scenario)


def test_the_last_success_is_the_newest_that_can_be_read_of_the_same_work(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, schedule = await scheduled(conn)
        same: dict[str, Any] = {"fingerprint": schedule.fingerprint}
        for n, found in enumerate((3, 5, 4)):
            same["id"] = UUID(int=(int(NOW.timestamp() * 1000) << 80) + n)
            at, result = NOW - HOUR / found, {"found": found, "new": found - 2}
            await make_run(conn, user, "success", finished_at=at, result=result, headline=f"{found} found", **same)
        del same["id"]
        await make_run(conn, user, "success", result={"found": 7}, expires_at=NOW, **same)
        await make_run(conn, user, "failed", **same)
        await make_run(conn, user, "running", **same)
        await make_run(conn, user, "success", result={"found": 9})
        await make_run(conn, await make_user(conn), "success", result={"found": 9}, **same)
        (read,) = await list_schedules(conn, user.id)
        assert read.last_success_at == NOW - HOUR / 5
        assert (read.headline, read.found, read.new) == ("5 found", 5, 3)

    clock.freeze(NOW)
    on_database(clock.url, scenario)


def test_a_result_without_such_numbers_has_none(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, schedule = await scheduled(conn)
        result = {"found": "many"}
        await make_run(conn, user, "success", result=result, fingerprint=schedule.fingerprint)
        (read,) = await list_schedules(conn, user.id)
        assert (read.found, read.new) == (None, None)

    on_database(clock.url, scenario)


def test_a_user_reads_their_own_schedules_by_key(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, schedule = await scheduled(conn)
        timetable = await make_timetable(conn)
        first = await make_schedule(conn, user, timetable, key="a")
        other = await make_user(conn)
        await make_schedule(conn, other, timetable)
        await act_as(conn, user.id)
        assert [read.id for read in await list_schedules(conn, user.id)] == [first.id, schedule.id]
        for name in (schedule.key, str(schedule.id)):
            assert (await find_schedule(conn, user.id, name)).id == schedule.id

    on_database(clock.url, scenario)


def test_another_users_schedule_is_not_found(clock: Clock) -> None:
    async def scenario(conn: AsyncConnection) -> None:
        user, schedule = await scheduled(conn)
        other = await make_user(conn, id=UUID(int=user.id.int ^ 1 << 100))
        assert other.bucket == user.bucket
        for name in (schedule.key, str(schedule.id)):
            with pytest.raises(NotFoundError, match="No such schedule"):
                await find_schedule(conn, other.id, name)
        assert await list_schedules(conn, other.id) == []

    on_database(clock.url, scenario)
