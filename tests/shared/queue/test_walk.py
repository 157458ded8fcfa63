"""A long random walk over all verbs; after every step queue and runs must tell one story."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from shared.kinds import Lane, Progress, Status
from shared.models import RunRow, Timetable, User, Worker
from shared.queue import (
    Claimed,
    Fence,
    Recorded,
    Said,
    Snoozed,
    disagreements,
    enqueue,
    enqueue_many,
    finish,
    progress,
    record_step,
    release,
    renew,
    rescue,
    retry,
    snooze,
)
from tests.clock import Clock
from tests.shared.queue.support import (
    BOOM,
    Search,
    asked,
    async_test,
    call_off,
    ended,
    failed,
    fence,
    queue_row,
    rows_of,
    run_row,
    take,
    unfold,
)
from tests.support import connect, db_now, make_schedule, make_tick, make_timetable, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
STEPS = 120
QUERIES = "abc"
TWINS = "select user_id as id from foxtrot.runs where status is null group by user_id, fingerprint having count(*) > 1"


class Walk:
    """Two users who want the same few things, two workers of which one may die, and a timetable."""

    def __init__(self, clock: Clock, conn: AsyncConnection, seed: int) -> None:
        self.clock, self.conn, self.random = clock, conn, random.Random(seed)
        self.users: list[User] = []
        self.workers: list[Worker] = []
        self.claimed: list[tuple[Worker, Claimed]] = []
        self.answered: set[UUID] = set()
        self.final: dict[UUID, RunRow] = {}
        self.attempts: dict[UUID, int] = {}
        self.retried: set[Fence] = set()
        self.slots: set[datetime] = set()
        self.timetable: Timetable
        self.steps: list[Callable[[], Awaitable[None]]] = [
            *[self.enqueue] * 2, *[self.claim] * 4, *[self.finish] * 4, *[self.renew] * 2, self.enqueue_many,
            self.expand, self.progress, self.step, self.retry, self.snooze, self.release, self.cancel, self.rescue,
            self.start_worker, self.wait,
        ]  # fmt: skip

    async def begin(self) -> None:
        self.users = [await make_user(self.conn) for _ in range(2)]
        self.timetable = await make_timetable(self.conn, next_slot=NOON)
        for user in self.users:
            for query in QUERIES[:2]:
                same = asked(user, query)
                values = {"parameters": same.parameters, "fingerprint": same.fingerprint}
                await make_schedule(self.conn, user, self.timetable, **values)
        await self.start_worker()
        while not self.claimed:
            await self.enqueue_many()
            await self.claim()
        await self.conn.commit()

    async def go(self) -> str:
        step = self.random.choice(self.steps)
        await step()
        await self.conn.commit()
        return step.__name__

    # The verbs --------------------------------------------------------------------------------------------------------

    async def enqueue(self) -> None:
        at = self.random.choice([None, None, await db_now(self.conn) + timedelta(seconds=20)])
        query = self.random.choice(QUERIES)
        answer = await enqueue(self.conn, asked(self.random.choice(self.users), query, available_at=at))
        self.answered.add(answer.run_id)

    async def enqueue_many(self) -> None:
        bulk = [asked(user, parameters=Search(query=query)) for user in self.users for query in QUERIES]
        answers = await enqueue_many(self.conn, self.random.choices(bulk, k=4))
        self.answered |= {answer.run_id for answer in answers}

    async def claim(self) -> None:
        worker, free = self.random.choice(self.workers), self.random.randint(0, 3)
        claimed = await take(self.conn, worker, free=free, cron_cap=2, cron_floor=self.random.randint(0, 1))
        assert len(claimed) <= free
        assert sum(row.lane != Lane.MANUAL for row in claimed) <= 2
        for row in claimed:
            assert row.attempt > self.attempts.get(row.run_id, 0)
            self.attempts[row.run_id] = row.attempt
        self.claimed += [(worker, row) for row in claimed]

    async def finish(self) -> None:
        worker, row = self.some_attempt()
        held = await self.holds(worker, row)
        status = self.random.choice([Status.SUCCESS, Status.FAILED])
        outcome = ended(row, status, error=BOOM if status is Status.FAILED else None)
        answer = (await finish(self.conn, worker.id, [outcome]))[outcome.fence]
        assert (answer is Recorded.RECORDED) == held
        if answer is Recorded.ALREADY_DONE:
            assert self.final[row.run_id].status == status
        assert (await finish(self.conn, worker.id, [outcome]))[outcome.fence] is not Recorded.RECORDED

    async def progress(self) -> None:
        worker, row = self.some_attempt()
        said = Said(row.run_id, row.bucket, row.attempt, Progress(percent=self.random.randint(0, 100)))
        held = await self.holds(worker, row, lease=False)
        assert await progress(self.conn, worker.id, [said]) == ({fence(row)} if held else set())

    async def retry(self) -> None:
        worker, row = self.some_attempt()
        failure = failed(row, delay=timedelta(seconds=5), asked_to_wait=self.random.random() < 0.5)
        held = await self.holds(worker, row) and row.attempt < row.max_attempts
        known = fence(row) in self.retried and await self.goes_on(row)
        assert await retry(self.conn, worker.id, [failure]) == ({fence(row)} if held or known else set())
        if held:
            self.retried.add(fence(row))

    async def snooze(self) -> None:
        worker, row = self.some_attempt()
        held = await self.holds(worker, row)
        asked_for = Snoozed(
            row.run_id, row.bucket, row.attempt, await db_now(self.conn) + timedelta(seconds=5), "later"
        )
        live = await queue_row(self.conn, row.run_id)
        known = live is not None and (live.worker_id, live.attempt, live.waiting, live.available_at) == (
            None,
            row.attempt,
            "snooze",
            asked_for.until,
        )
        assert await snooze(self.conn, worker.id, [asked_for]) == ({fence(row)} if held or known else set())

    async def release(self) -> None:
        worker, row = self.some_attempt()
        held = await self.holds(worker, row, lease=False)
        assert await release(self.conn, worker.id, [fence(row)]) == ({fence(row)} if held else set())

    async def step(self) -> None:
        worker, row = self.some_attempt()
        held = await self.holds(worker, row, lease=False)
        recorded = await record_step(self.conn, worker.id, fence(row), row.bucket, "fetch", row.attempt)
        assert (recorded is not None) == held

    async def cancel(self) -> None:
        runs = await rows_of(self.conn, RunRow, "select * from foxtrot.runs order by id")
        if runs:
            run = self.random.choice(runs)
            cancelled = await call_off(self.conn, run.id, run.user_id)
            assert (cancelled is None) == (run.status is not None)

    async def rescue(self) -> None:
        await rescue(self.conn)

    async def renew(self) -> None:
        for worker in self.workers:
            await renew(self.conn, worker.id)

    async def start_worker(self) -> None:
        self.workers = [await make_worker(self.conn), *self.workers][:2]

    async def wait(self) -> None:
        self.clock.advance(timedelta(seconds=self.random.choice([1, 4, 10])))

    async def expand(self) -> None:
        slot = (await db_now(self.conn)).replace(second=0, microsecond=0)
        self.timetable.next_slot = slot
        exists = await rows_of(
            self.conn, RunRow, "select timetable_id as id from foxtrot.ticks where scheduled_for = %s", slot
        )
        if not exists:
            await make_tick(self.conn, self.timetable)
        await unfold(self.conn, self.timetable, self.random.randint(1, 5))

    # What must hold ---------------------------------------------------------------------------------------------------

    def some_attempt(self) -> tuple[Worker, Claimed]:
        return self.random.choice(self.claimed[-3:])

    async def holds(self, worker: Worker, row: Claimed, *, lease: bool = True) -> bool:
        live = await queue_row(self.conn, row.run_id)
        (now,) = await rows_of(self.conn, Worker, "select * from foxtrot.workers where id = %s", worker.id)
        alive = now.lease_expires_at > await db_now(self.conn)
        holding = live is not None and (live.worker_id, live.attempt) == (worker.id, row.attempt)
        return holding and (alive or not lease)

    async def goes_on(self, row: Claimed) -> bool:
        """Whether the run has not ended with this attempt."""
        run = await run_row(self.conn, row.run_id)
        return run.status is None or run.attempt > row.attempt

    async def check(self, step: str) -> None:
        assert [one for one in await disagreements(self.conn) if one.fault != "orphan"] == [], step
        assert await rows_of(self.conn, User, TWINS) == [], step
        runs = {run.id: run for run in await rows_of(self.conn, RunRow, "select * from foxtrot.runs")}
        assert runs.keys() >= self.answered, step
        for run_id, final in self.final.items():
            assert runs[run_id] == final, step
        self.final = {run_id: run for run_id, run in runs.items() if run.status}


@pytest.mark.parametrize("seed", range(3))
@async_test
async def test_queue_and_runs_tell_one_story_whatever_happens(clock: Clock, seed: int) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        walk = Walk(clock, conn, seed)
        await walk.begin()
        for _ in range(STEPS):
            step = await walk.go()
            await walk.check(step)
        assert len(walk.final) > 3, "the walk went nowhere"
