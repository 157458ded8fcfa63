"""40001, 40P01 and 55P03: whoever owns the transaction repeats it, and each verb then does what it would have done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from shared.db import in_statements, in_transaction, open_pool
from shared.kinds import Kind, Progress
from shared.models import Timetable, User, Worker
from shared.queue import (
    Recorded,
    Said,
    Snoozed,
    enqueue,
    expire,
    finish,
    leave,
    mark_stopping,
    progress,
    record_step,
    register,
    release,
    renew,
    rescue,
    retry,
    snooze,
)
from tests.clock import Clock
from tests.shared.queue.support import DEMO, asked, async_test, call_off, ended, failed, fence, live, take, unfold
from tests.support import connect, db_now, make_run, make_schedule, make_tick, make_timetable, make_user, make_worker

IMPATIENT: Mapping[str, Kind[Any, Any]] = {"late": Kind(**vars(DEMO) | {"name": "late", "start_within": timedelta(1)})}
# The first change of each table fails; a sequence is not rolled back, so the second does not.
TROUBLE = """
create sequence trouble.{table};
create trigger trouble after insert or update or delete on foxtrot.{table} execute function trouble.once('{code}')
"""
ONCE = """
create schema trouble;
create function trouble.once() returns trigger language plpgsql security definer as $$
begin
    if nextval('trouble.' || tg_table_name) = 1 then
        raise 'trouble' using errcode = tg_argv[0];
    end if;
    return null;
end $$;
"""
TABLES = ("queue", "runs", "skips", "run_steps", "workers", "ticks")
HAPPENED = " + ".join(f"(select is_called::int from trouble.{table})" for table in TABLES)


@dataclass(frozen=True)
class Scene:
    """A run that is pending, one that `worker` holds, one whose worker died, one that waited too long, a tick."""

    user: User
    worker: Worker
    held: Any
    timetable: Timetable


async def set_scene(conn: AsyncConnection) -> Scene:
    user, worker, now = await make_user(conn), await make_worker(conn), await db_now(conn)
    await make_run(conn, user)
    held = await live(conn, (await make_run(conn, user, "running", worker=worker)).id)
    await make_run(conn, user, "running", worker=await make_worker(conn, lease_expires_at=now - timedelta(hours=1)))
    long_ago = now - timedelta(days=2)
    await make_run(conn, user, kind="late", created_at=long_ago, available_at=long_ago)
    timetable = await make_timetable(conn)
    await make_schedule(conn, user, timetable)
    await make_tick(conn, timetable)
    return Scene(user, worker, held, timetable)


async def do_enqueue(conn: AsyncConnection, scene: Scene) -> object:
    return (await enqueue(conn, asked(scene.user, "new"))).created


async def do_claim(conn: AsyncConnection, scene: Scene) -> object:
    return len(await take(conn, scene.worker))


async def do_progress(conn: AsyncConnection, scene: Scene) -> object:
    held = scene.held
    said = Said(held.run_id, held.bucket, held.attempt, Progress(percent=5))
    return await progress(conn, scene.worker.id, [said]) == {fence(held)}


async def do_finish(conn: AsyncConnection, scene: Scene) -> object:
    return await finish(conn, scene.worker.id, [ended(scene.held)]) == {fence(scene.held): Recorded.RECORDED}


async def do_retry(conn: AsyncConnection, scene: Scene) -> object:
    return await retry(conn, scene.worker.id, [failed(scene.held)]) == {fence(scene.held)}


async def do_snooze(conn: AsyncConnection, scene: Scene) -> object:
    held = scene.held
    put_off = Snoozed(held.run_id, held.bucket, held.attempt, await db_now(conn) + timedelta(hours=1), "not yet")
    return await snooze(conn, scene.worker.id, [put_off]) == {fence(held)}


async def do_cancel(conn: AsyncConnection, scene: Scene) -> object:
    return await call_off(conn, scene.held.run_id, scene.user.id) is not None


async def do_release(conn: AsyncConnection, scene: Scene) -> object:
    return await release(conn, scene.worker.id, [fence(scene.held)]) == {fence(scene.held)}


async def do_rescue(conn: AsyncConnection, _: Scene) -> object:
    return (await rescue(conn)).given_back


async def do_expire(conn: AsyncConnection, _: Scene) -> object:
    return await expire(conn, IMPATIENT)


async def do_expand(conn: AsyncConnection, scene: Scene) -> object:
    return (await unfold(conn, scene.timetable)).runs


async def do_record_step(conn: AsyncConnection, scene: Scene) -> object:
    held = scene.held
    stands = await record_step(conn, scene.worker.id, fence(held), held.bucket, "fetch", 7)
    return stands is not None and stands.value == 7


async def do_register(conn: AsyncConnection, _: Scene) -> object:
    return bool(await register(conn, ["demo"], 10))


async def do_renew(conn: AsyncConnection, scene: Scene) -> object:
    return await renew(conn, scene.worker.id)


async def do_mark_stopping(conn: AsyncConnection, scene: Scene) -> object:
    await mark_stopping(conn, scene.worker.id)
    return True


async def do_leave(conn: AsyncConnection, scene: Scene) -> object:
    await leave(conn, scene.worker.id)
    return True


Verb = Callable[[AsyncConnection, Scene], Awaitable[object]]
# Of one statement, which commits itself.
ALONE: list[Verb] = [do_claim, do_finish, do_retry, do_snooze, do_release, do_rescue]
VERBS: list[Verb] = [
    *ALONE,
    do_enqueue,
    do_progress,
    do_cancel,
    do_expire,
    do_expand,
    do_record_step,
    do_register,
    do_renew,
    do_mark_stopping,
    do_leave,
]


@pytest.fixture(params=["40001", "40P01", "55P03"])
def troubled(clock: Clock, request: pytest.FixtureRequest) -> Any:
    """Lets trouble begin when called."""

    def begin() -> None:
        with psycopg.connect(clock.url) as conn:
            conn.execute(ONCE)
            for table in TABLES:
                conn.execute(TROUBLE.format(table=table, code=request.param).encode())

    yield begin
    with psycopg.connect(clock.url) as conn:
        conn.execute("drop schema trouble cascade")


@pytest.mark.parametrize(
    ("owner", "verb"),
    [*((in_transaction, verb) for verb in VERBS), *((in_statements, verb) for verb in ALONE)],
    ids=lambda function: function.__name__.removeprefix("do_"),
)
@async_test
async def test_a_verb_that_met_a_transient_error_is_repeated(
    clock: Clock, troubled: Callable[[], None], owner: Callable[..., Awaitable[object]], verb: Verb
) -> None:
    async with connect(clock.url) as conn:
        scene = await set_scene(conn)
        await conn.commit()
        troubled()
        async with open_pool(clock.url, "test", size=1) as pool:
            assert await owner(pool, lambda conn: verb(conn, scene)) == 1
        met = await (await conn.execute(f"select {HAPPENED}".encode())).fetchone()
    assert met != (0,)
