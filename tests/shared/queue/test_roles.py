from datetime import UTC, datetime, timedelta

import pytest
from psycopg.errors import InsufficientPrivilege

from shared.kinds import Progress, Status
from shared.models import Skip, Worker
from shared.queue import (
    Recorded,
    Rescued,
    Said,
    Snoozed,
    disagreements,
    enqueue,
    enqueue_many,
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
from shared.users import act_as
from tests.clock import Clock
from tests.shared.queue.support import (
    asked,
    async_test,
    call_off,
    count,
    ended,
    failed,
    fence,
    rows_of,
    take,
    unfold,
)
from tests.support import (
    connect,
    insert,
    make_run,
    make_schedule,
    make_tick,
    make_timetable,
    make_user,
    make_worker,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@async_test
async def test_the_api_enqueues_promotes_and_cancels_for_its_user(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        waiting = await make_run(
            conn, user, source="cron", fingerprint=asked(user, "b").fingerprint, available_at=NOON + timedelta(hours=1)
        )
        await act_as(conn, user.id)
        first, second = await enqueue_many(conn, [asked(user, "a"), asked(user, "b")])
        assert (first.created, second.run_id, second.promoted) == (True, waiting.id, True)
        assert not (await enqueue(conn, asked(user, "a"))).created
        assert await call_off(conn, first.run_id, user.id)
        assert [await count(conn, table) for table in ("queue", "runs", "run_status")] == [1, 2, 2]


@async_test
async def test_the_api_may_turn_a_covered_slot_into_a_run(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run = await make_run(conn, user)
        schedule = await make_schedule(conn, user, await make_timetable(conn), fingerprint=run.fingerprint)
        slot = {"schedule_id": schedule.id, "scheduled_for": NOON, "bucket": user.bucket, "user_id": user.id}
        await insert(conn, Skip, {**slot, "reason": "overlap", "run_id": run.id})
        await act_as(conn, user.id)
        assert await call_off(conn, run.id, user.id)
        assert [await count(conn, table) for table in ("queue", "runs", "skips")] == [1, 2, 0]


@async_test
async def test_the_api_sees_and_touches_nobody_elses_rows(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        ada, grace = await make_user(conn), await make_user(conn)
        hers = await make_run(conn, grace, fingerprint=asked(grace).fingerprint)
        await make_run(conn, grace, "success")
        await conn.commit()
        await act_as(conn, ada.id)
        assert [await count(conn, table) for table in ("queue", "runs", "run_status", "users")] == [0, 0, 0, 1]
        assert await call_off(conn, hers.id, grace.id) is None
        assert (await enqueue(conn, asked(ada))).created
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            await enqueue(conn, asked(grace, "another"))
        await conn.rollback()
        await act_as(conn, ada.id)
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            await enqueue(conn, asked(grace))
        await conn.rollback()
        assert await count(conn, "queue") == 1


@async_test
async def test_without_a_user_the_api_sees_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        await make_run(conn, await make_user(conn))
        await conn.execute("set local role foxtrot_api")
        assert [await count(conn, table) for table in ("queue", "runs", "users")] == [0, 0, 0]


@async_test
async def test_the_api_claims_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        await act_as(conn, user.id)
        with pytest.raises(InsufficientPrivilege, match="workers"):
            await take(conn, worker)


@async_test
async def test_the_service_does_everything(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        timetable = await make_timetable(conn, next_slot=NOON)
        await make_schedule(conn, user, timetable)
        covered = await make_schedule(conn, user, timetable, fingerprint=asked(user, "d").fingerprint)
        await make_tick(conn, timetable)
        await conn.execute("set local role foxtrot_service")
        me = await register(conn, ["demo"], 10)
        (worker,) = await rows_of(conn, Worker, "select * from foxtrot.workers where id = %s", me)
        answers = await enqueue_many(conn, [asked(user, query) for query in "abcde"])
        assert (await unfold(conn, timetable)).covered == [covered.id]
        taken = {run.run_id: run for run in await take(conn, worker)}
        a, b, c, d, _ = (taken[answer.run_id] for answer in answers)
        assert await progress(conn, me, [Said(a.run_id, a.bucket, a.attempt, Progress(percent=1))]) == {fence(a)}
        assert await record_step(conn, me, fence(a), a.bucket, "fetch", 1)
        assert await finish(conn, me, [ended(a, Status.SUCCESS)]) == {fence(a): Recorded.RECORDED}
        assert await retry(conn, me, [failed(b)]) == {fence(b)}
        assert await snooze(conn, me, [Snoozed(c.run_id, c.bucket, c.attempt, NOON, "later")]) == {fence(c)}
        assert await release(conn, me, [fence(d)]) == {fence(d)}
        assert await call_off(conn, answers[3].run_id, user.id)
        assert await renew(conn, me)
        await mark_stopping(conn, me)
        await leave(conn, me)
        assert (await rescue(conn)).given_back == 2
        assert await rescue(conn) == Rescued(0, 0)
        assert await disagreements(conn) == []
