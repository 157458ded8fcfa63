import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from shared.kinds import Lane
from shared.wake import Channel
from tests.support import connect, make_run, make_user
from tests.worker.handlers import ECHO, HOLD, define
from tests.worker.support import add_run, becomes_true, execute, going, until, working
from tests.worker.test_failures import CLAIMED
from worker.claiming import Shares, Watermarks
from worker.worker import Worker


async def add_runs(url: str, count: int, kind: str = "hold", **values: Any) -> list[UUID]:
    """Runs of a user, all available since the same moment, in the order of their ids."""
    async with connect(url) as conn:
        user = await make_user(conn)
        return sorted([(await make_run(conn, user, kind=kind, **values)).id for _ in range(count)])


def sources(worker: Worker) -> list[str]:
    return sorted(attempt.claimed.source for attempt in worker.attempts.running.values())


@pytest.mark.parametrize(
    ("slots", "reserve", "kept"),
    [(1, 0.2, 0), (2, 0.2, 1), (2, 0, 1), (10, 0.2, 2), (10, 0.5, 5), (10, 0.99, 9), (200, 0.2, 40)],
)
def test_what_is_reserved_for_manual_runs(slots: int, reserve: float, kept: int) -> None:
    shares = Shares(slots, reserve=reserve, rate=0.1)
    assert shares.reserve == kept
    assert shares.cron_cap(0) == slots - kept
    assert shares.cron_cap(slots - kept) == 0
    assert shares.cron_cap(slots) == 0


def test_cron_earns_a_tenth_of_a_slot_for_each_given_to_manual_while_it_waits() -> None:
    shares = Shares(10, reserve=0.2, rate=0.25)
    shares.settle(3, 0, cron_waits=True)
    assert (shares.credit, shares.cron_floor) == (0.75, 0)
    shares.settle(1, 0, cron_waits=True)
    assert (shares.credit, shares.cron_floor) == (1, 1)
    shares.settle(0, 1, cron_waits=True)
    assert (shares.credit, shares.cron_floor) == (0, 0)


def test_credit_is_bounded_and_ends_when_no_cron_run_waits() -> None:
    small, large = Shares(5, reserve=0.2, rate=0.25), Shares(40, reserve=0.2, rate=0.25)
    for shares in (small, large):
        shares.settle(1000, 0, cron_waits=True)
    assert (small.cron_floor, large.cron_floor) == (1, 4)
    large.settle(1, 0, cron_waits=False)
    assert large.credit == 0


def test_strict_order_earns_nothing() -> None:
    shares = Shares(10, reserve=0.2, rate=0)
    shares.settle(1000, 0, cron_waits=True)
    assert shares.cron_floor == 0


def test_marks_last_a_second_and_the_manual_lane_has_none() -> None:
    marks = Watermarks()
    cron = CLAIMED._replace(lane=1, kind="a")
    marks.advance([CLAIMED, cron], now=5)
    assert marks.current(5.99) == {(Lane.CRON, "a"): (cron.available_at, cron.run_id)}
    marks.advance([cron], now=5.99)
    assert marks.current(6) == {}


def test_marks_are_dropped_by_kind() -> None:
    marks = Watermarks()
    marks.advance([CLAIMED._replace(lane=1, kind=kind) for kind in ("a", "b")], now=0)
    assert marks.drop("c") is False
    assert marks.drop("a") is True
    assert list(marks.current(0)) == [(Lane.CRON, "b")]
    assert marks.drop() is True
    assert marks.drop() is False


def test_a_worker_claims_what_it_has_slots_for_and_no_more(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 5)
        async with working(database_url, HOLD, slots=3) as worker:
            assert await worker.claimer.claim_once() == 3
            await execute(database_url, "alter table foxtrot.queue rename to hidden")
            assert await worker.claimer.claim_once() == 0

    asyncio.run(scenario())


def test_a_worker_claims_only_kinds_it_knows(database_url: str) -> None:
    async def scenario() -> None:
        await add_run(database_url, "hold")
        async with working(database_url, ECHO) as worker:
            assert await worker.claimer.claim_once() == 0

    asyncio.run(scenario())


def test_cron_leaves_the_reserve_to_manual_runs(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 5, source="cron")
        async with working(database_url, HOLD, slots=4, manual_reserve=0.5) as worker:
            assert await worker.claimer.claim_once() == 2
            assert await worker.claimer.claim_once() == 0
            await add_runs(database_url, 5)
            assert await worker.claimer.claim_once() == 2
            assert sources(worker) == ["cron", "cron", "manual", "manual"]

    asyncio.run(scenario())


def test_a_whole_credit_goes_to_the_oldest_cron_run(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 20, "echo")
        await add_runs(database_url, 2, "echo", source="cron")
        async with working(database_url, ECHO, slots=2, cron_credit=0.25) as worker:
            lanes = []
            for _ in range(4):
                await worker.claimer.claim_once()
                lanes.append(sources(worker))
                await worker.attempts.wait(10)
                await worker.flusher.flush_once()
        manual = ["manual", "manual"]
        assert lanes == [manual, manual, ["cron", "manual"], manual]

    asyncio.run(scenario())


def test_a_twice_rescued_run_shares_its_worker_with_no_other_such_run(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 2, rescues=2)
        await add_runs(database_url, 2)
        async with working(database_url, HOLD) as worker:
            await worker.claimer.claim_once()
            await worker.claimer.claim_once()
            assert sorted(a.claimed.rescues for a in worker.attempts.running.values()) == [0, 0, 2]

    asyncio.run(scenario())


def test_outcomes_that_cannot_be_written_hold_claims_back(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 7, "echo")
        async with working(database_url, ECHO, slots=2) as worker:
            claims = []
            for _ in range(4):
                claims.append(await worker.claimer.claim_once())
                await worker.attempts.wait(10)
            assert claims == [2, 2, 0, 0]
            await worker.flusher.flush_once()
            assert await worker.claimer.claim_once() == 2

    asyncio.run(scenario())


def test_a_claim_goes_on_from_its_mark_until_one_comes_back_short(database_url: str) -> None:
    async def scenario() -> None:
        ids = await add_runs(database_url, 4, source="cron")
        async with working(database_url, HOLD, slots=3) as worker:
            await worker.claimer.claim_once()
            (mark,) = worker.claimer.marks.current(asyncio.get_running_loop().time()).values()
            assert mark[1] == ids[1]
            behind = await add_run(database_url, "hold", source="cron", available_at=mark[0] - timedelta(hours=1))
            await _free_slots(worker)
            assert await worker.claimer.claim_once() == 2
            assert {fence.run_id for fence in worker.attempts.running} == set(ids[2:])
            await _free_slots(worker)
            assert await worker.claimer.claim_once() == 0
            assert await worker.claimer.claim_once() == 1
            assert {fence.run_id for fence in worker.attempts.running} == {behind.id}

    asyncio.run(scenario())


async def _free_slots(worker: Worker) -> None:
    """End what is in hand, its rows left as they are."""
    worker.attempts.drop_all()
    await worker.attempts.wait(10)


def test_a_wake_up_for_a_kind_drops_its_marks(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 3, source="cron")
        async with working(database_url, HOLD, slots=3) as worker:
            await worker.claimer.claim_once()
            worker.heed(Channel.QUEUE, "echo")
            assert worker.claimer.marks.current(asyncio.get_running_loop().time())
            worker.heed(Channel.QUEUE, "hold")
            assert not worker.claimer.marks.current(asyncio.get_running_loop().time())

    asyncio.run(scenario())


def test_the_loop_claims_when_woken_and_when_a_slot_becomes_free(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD, slots=1) as worker, going(worker.claimer.run(poll=60)):
            await until(lambda: connections_asked(worker))  # the first claim found nothing
            first, second = await add_runs(database_url, 2)
            worker.heed(Channel.QUEUE, "hold")
            await until(lambda: worker.attempts.running)
            worker.attempts.drop_run(first)
            await until(lambda: second in {fence.run_id for fence in worker.attempts.running})

    asyncio.run(scenario())


def connections_asked(worker: Worker) -> int:
    """How often the worker has taken a connection to claim."""
    return worker.claimer.pool.get_stats().get("requests_num", 0)


def test_the_loop_claims_again_when_outcomes_made_room(database_url: str) -> None:
    async def scenario() -> None:
        runs = await add_runs(database_url, 3, "echo")
        async with working(database_url, ECHO, slots=1) as worker, going(worker.claimer.run(poll=60)):
            await until(lambda: len(worker.flusher.pending) == 2)
            await worker.flusher.flush_once()
            await until(lambda: runs[2] in {fence.run_id for fence in worker.flusher.pending})

    asyncio.run(scenario())


def test_a_run_that_its_kinds_limit_held_back_begins_soon_after_another_workers_has_ended(database_url: str) -> None:
    limited = define("hold", running_limit=1)

    async def scenario() -> None:
        first, second = await add_runs(database_url, 2)
        async with working(database_url, limited) as one, working(database_url, limited) as other:
            await one.claimer.claim_once()
            async with going(other.claimer.run(poll=60)):
                await until(lambda: connections_asked(other))
                await execute(database_url, f"delete from foxtrot.queue where run_id = '{first}'")
                await until(lambda: second in {fence.run_id for fence in other.attempts.running})

    asyncio.run(scenario())


def test_a_burst_of_wake_ups_is_one_claim(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            before = connections_asked(worker)
            async with going(worker.claimer.run(poll=0.001, pause=3600)):
                for _ in range(5000):
                    worker.heed(Channel.QUEUE, "hold")
                    await asyncio.sleep(0)
                assert connections_asked(worker) == before + 1

    asyncio.run(scenario())


def test_a_herd_is_claimed_without_pauses(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 4, "echo", source="cron")  # more might have to wait for their outcomes
        async with (
            working(database_url, ECHO, slots=2) as worker,
            going(worker.claimer.run(poll=60, pause=3600), worker.flusher.run()),
        ):
            await becomes_true(database_url, "select count(*) = 0 from foxtrot.queue")

    asyncio.run(scenario())


def test_the_loop_outlives_a_database_that_is_away(database_url: str) -> None:
    async def scenario() -> None:
        await add_runs(database_url, 1)
        async with working(database_url, HOLD) as worker:
            await execute(database_url, "alter table foxtrot.queue rename to hidden")
            with capture_logs() as logs:
                async with going(worker.claimer.run(poll=0.01)):
                    await until(lambda: logs)
                    assert logs[0]["event"] == "claim_failed"
                    await execute(database_url, "alter table foxtrot.hidden rename to queue")
                    await until(lambda: worker.attempts.running)

    asyncio.run(scenario())
