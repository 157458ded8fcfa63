import asyncio
from typing import Literal

from pydantic import BaseModel

from shared.db import open_pool
from shared.fingerprint import fingerprint
from shared.kinds import Kind, Registry
from shared.models import Schedule
from shared.schedules import Followed, follow_models, follow_org
from tests.clock import Clock
from tests.shared.queue.support import DEMO, Search, async_test
from tests.support import connect, make_schedule, make_timetable, make_user, wait_for_lock


class Wider(BaseModel):
    """`Search` of a later release: twenty at a time unless asked otherwise, and no more than fifty."""

    query: str = ""
    limit: Literal[5, 10, 20, 50] = 20
    filters: dict[str, str] = {}


BEFORE = Registry([DEMO])
AFTER = Registry([Kind(**vars(DEMO) | {"parameters": Wider})])
MANY = """
insert into foxtrot.schedules (bucket, user_id, key, kind, parameters, fingerprint, timetable_id, zone, effective_from)
select bucket, user_id, n::text, kind, parameters, fingerprint, timetable_id, zone, effective_from
from foxtrot.schedules, generate_series(1, 4500) n
"""


async def schedules_of(url: str, *asked: dict[str, object], hour: int = 8) -> list[Schedule]:
    """A new user's schedule for each of these parameters, as the release with `Search` put them."""
    async with connect(url) as conn:
        user, timetable = await make_user(conn, org_id="acme"), await make_timetable(conn, crons=[f"0 {hour} * * *"])
        made = [
            await make_schedule(
                conn, user, timetable, parameters=each, fingerprint=fingerprint("demo", "acme", Search(**each))
            )
            for each in asked
        ]
        await conn.commit()
    return made


async def follow(url: str, registry: Registry) -> list[Followed]:
    async with open_pool(url, "test", size=1) as pool:
        return await follow_models(pool, registry)


async def fingerprint_of(url: str, schedule: Schedule) -> bytes:
    async with connect(url) as conn:
        row = await (
            await conn.execute("select fingerprint from foxtrot.schedules where id = %s", [schedule.id])
        ).fetchone()
    assert row is not None
    made: bytes = row[0]
    return made


@async_test
async def test_what_became_a_default_no_longer_tells_a_schedule_from_a_run_by_hand(clock: Clock) -> None:
    nurse, twenty, unfit = await schedules_of(
        clock.url, {"query": "nurse"}, {"query": "cook", "limit": 20}, {"limit": 7}
    )
    assert await follow(clock.url, BEFORE) == [Followed("demo", 3, 0, [])]
    assert await follow(clock.url, BEFORE) == []
    assert await follow(clock.url, AFTER) == [Followed("demo", 3, 1, [unfit.id])]
    assert await fingerprint_of(clock.url, twenty) == fingerprint("demo", "acme", Wider(query="cook"))
    assert await fingerprint_of(clock.url, nurse) == nurse.fingerprint
    assert await fingerprint_of(clock.url, unfit) == unfit.fingerprint
    assert await follow(clock.url, AFTER) == []


@async_test
async def test_schedules_by_the_thousand_are_all_followed(clock: Clock) -> None:
    await schedules_of(clock.url, {"limit": 20})
    async with connect(clock.url) as conn:
        await conn.execute(MANY.encode())
        await conn.commit()
    assert await follow(clock.url, AFTER) == [Followed("demo", 4501, 4501, [])]


@async_test
async def test_an_edit_that_is_under_way_is_not_overwritten(clock: Clock) -> None:
    (schedule,) = await schedules_of(clock.url, {"limit": 20})
    async with connect(clock.url) as editing, open_pool(clock.url, "test", size=1) as pool:
        await editing.execute("update foxtrot.schedules set fingerprint = %s", [bytes(16)])
        async with pool.connection() as conn:
            pid = conn.info.backend_pid
        following = asyncio.create_task(follow_models(pool, AFTER))
        await wait_for_lock(clock.url, pid)
        await editing.commit()
        await following
    assert await fingerprint_of(clock.url, schedule) == bytes(16)


@async_test
async def test_schedules_follow_their_user_to_another_org_and_nobody_elses_do(clock: Clock) -> None:
    mine, unfit = await schedules_of(clock.url, {"query": "nurse"}, {"limit": 7})
    (theirs,) = await schedules_of(clock.url, {"query": "nurse"}, hour=9)
    async with connect(clock.url) as conn:
        await conn.execute("update foxtrot.users set org_id = 'initech'")
        assert await follow_org(conn, Registry([]), mine.user_id) == 0
        assert await follow_org(conn, AFTER, mine.user_id) == 1
        assert await follow_org(conn, AFTER, mine.user_id) == 0
        await conn.commit()
    assert await fingerprint_of(clock.url, mine) == fingerprint("demo", "initech", Search(query="nurse"))
    assert await fingerprint_of(clock.url, unfit) == unfit.fingerprint
    assert await fingerprint_of(clock.url, theirs) == theirs.fingerprint
