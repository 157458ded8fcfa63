import asyncio
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from shared.db import in_transaction, open_pool
from shared.queue import Enqueued, NewRun, enqueue
from tests.faults.clients import Clients
from tests.faults.handlers import ATTEMPTS, ORDER, Act, Order
from tests.faults.proxy import Proxy
from tests.faults.support import TROUBLES, System, trouble
from tests.support import wait_until

HANDLED = "select count(*) from foxtrot.runs where status is not null"


def test_a_claim_whose_answer_is_lost_is_released_and_claimed_again(moved: System) -> None:
    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        (worker,) = moved.started()
        proxy.lose_commit("Claim")
        (run,) = moved.ask(Order(gate="open"))
        moved.begun(run)
        assert proxy.lost == 1
        found = moved.run(run)
        assert (found["attempt"], found["allowed"], found["rescues"]) == (2, ATTEMPTS + 1, 0)
        assert [entry["runs"] for entry in worker.events("runs_released")] == [[str(run)]]
        moved.open("open")
        sums = moved.settled()
    assert (sums.statuses, sums.claims, sums.effects) == ({"success": 1}, 2, 1)


def test_an_outcome_whose_answer_is_lost_is_written_again_and_found_done(moved: System) -> None:
    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        (worker,) = moved.started()
        proxy.lose_commit("Finish")
        (run,) = moved.ask(Act.DO)
        wait_until(lambda: worker.events("flush_failed"))
        sums = moved.settled()
    assert proxy.lost == 1
    assert (sums.statuses, sums.claims, sums.effects) == ({"success": 1}, 1, 1)
    (stopped,) = worker.events("worker_stopped")
    assert (stopped["finished"], stopped["refused"]) == (1, 0)
    assert moved.run(run)["attempt"] == 1


@pytest.mark.parametrize(("statement", "act"), [("Retry", Act.FAIL), ("Snooze", Act.SNOOZE), ("Step", Act.STEP)])
def test_an_attempt_whose_answer_is_lost_in_any_other_way_is_done_once_too(
    moved: System, statement: str, act: Act
) -> None:
    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        (worker,) = moved.started()
        proxy.lose_commit(statement)
        (run,) = moved.ask(act)
        sums = moved.settled()
    assert proxy.lost == 1
    assert (sums.statuses, sums.claims) == ({"success": 1}, 2)
    assert moved.run(run)["attempt"] == 2
    if act is not Act.SNOOZE:  # one that has gone on meanwhile can't be told from one that somebody else put off
        assert worker.events("worker_stopped")[0]["refused"] == 0


def test_a_run_whose_acknowledgement_is_lost_is_asked_for_again_and_is_the_same(moved: System) -> None:
    new = NewRun.of(ORDER, Order(), user_id=uuid4())

    def ask(url: str) -> Enqueued:
        async def main() -> Enqueued:
            async with open_pool(url, "client", size=1) as pool:
                return await in_transaction(pool, partial(enqueue, run=new))

        return asyncio.run(main())

    with Proxy(moved.url) as proxy:
        proxy.lose_commit("Enqueue")
        with pytest.raises(psycopg.OperationalError):
            ask(proxy.url)
        entered = moved.one("select run_id from foxtrot.queue")
        again = ask(proxy.url)
    assert (again.run_id, again.created) == (entered, False)
    moved.acknowledged.add(entered)
    moved.started()
    assert moved.settled().statuses == {"success": 1}


def test_serialization_failures_deadlocks_and_lock_timeouts_are_retried_by_whoever_owns_the_transaction(
    moved: System,
) -> None:
    trouble(moved.url)
    workers = moved.started(2)
    acts = [Act.DO, Act.TALK, Act.FAIL, Act.SNOOZE, Act.STEP]
    with Clients(moved, lambda chance: Order(act=chance.choice(acts), seconds=0.05), cancels=0.2) as clients:
        wait_until(lambda: moved.one(HANDLED) > 150, within=30)
    assert clients.errors == 0
    sums = moved.settled()
    assert set(sums.statuses) == {"success", "cancelled"}
    assert sums.statuses["cancelled"] == len(clients.cancelled)
    troubles = moved.one(TROUBLES)
    assert troubles > 20
    complaints = [entry["event"] for worker in workers for entry in worker.events() if entry["level"] != "info"]
    assert set(complaints) <= {"renew_failed", "attempt_failed", "outcome_refused"}  # the last of cancelled runs
