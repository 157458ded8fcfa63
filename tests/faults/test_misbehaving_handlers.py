import os
import signal
from datetime import timedelta
from functools import partial

import pytest

from shared.kinds import Kind
from shared.queue import cancel
from shared.settings import LEASE
from tests.clock import Clock
from tests.faults.handlers import ATTEMPTS, ORDER, ORDER_ALONE, Act, Done, Order
from tests.faults.support import IMPATIENT, System
from tests.support import wait_until
from worker.execution import MOST_ABANDONED
from worker.leases import STALLED

LEASES = "select min(lease_expires_at) - now() as left from foxtrot.workers"
ROOM = 200 << 20
MIXED = 200


def pass_time(system: System, clock: Clock, seconds: float) -> None:
    """Let time pass no faster than workers renew their leases."""
    for _ in range(int(seconds // 10)):
        clock.advance(timedelta(seconds=10))
        wait_until(lambda: system.one(LEASES) > LEASE - timedelta(seconds=5))


def test_a_handler_that_blocks_the_loop_for_three_leases_keeps_its_lease(moved: System, clock: Clock) -> None:
    (blocked,) = moved.started()
    (run,) = moved.ask(Order(act=Act.BLOCK, gate="open"))
    moved.begun(run)
    moved.started()
    pass_time(moved, clock, 3 * LEASE.total_seconds() + 10)
    assert moved.run(run)["status"] == "running"
    moved.open("open")
    moved.settled()
    found = moved.run(run)
    assert (found["status"], found["attempt"], found["result"]["pid"]) == ("success", 1, blocked.pid)


def test_a_handler_that_blocks_the_loop_for_ever_ends_its_process_with_all_stacks(moved: System, clock: Clock) -> None:
    moved.pace = IMPATIENT
    (stalled,) = moved.started()
    (run,) = moved.ask(Order(act=Act.BLOCK, gate="open"))
    assert stalled.popen.wait(30) == STALLED
    assert "in _block" in stalled.log.read_text()
    clock.advance(LEASE)
    moved.open("open")
    moved.started()
    moved.settled()
    assert (moved.run(run)["status"], moved.run(run)["attempt"]) == ("success", 2)


def test_ten_handlers_that_ignore_a_cancel_are_abandoned_and_their_worker_drains_and_exits(moved: System) -> None:
    (worker,) = moved.started(slots=20, grace=30)
    deaf = moved.ask(*[Order(act=Act.DEAF, number=number, gate="never") for number in range(MOST_ABANDONED)])
    (kept,) = moved.ask(Order(gate="open"))
    moved.begun(*deaf, kept)
    for run in deaf:
        give_up = partial(cancel, run_id=run, user_id=moved.run(run)["user_id"], retention=timedelta(1), max_attempts=3)
        assert moved.transact(give_up)
        assert moved.run(run)["status"] == "cancelled"
    wait_until(lambda: worker.events("worker_stopping"))
    moved.open("open")
    assert worker.popen.wait(30) == 1
    sums = moved.settled()
    assert (sums.statuses, sums.effects) == ({"cancelled": 10, "success": 1}, 1)
    assert len(worker.events("handler_abandoned")) == MOST_ABANDONED
    assert moved.run(kept)["result"]["pid"] == worker.pid


def ask_among(system: System, kind: Kind[Order, Done], *acts: Act) -> None:
    """Ask for these in the middle of many others, 200 in all."""
    others = [Order(number=number) for number in range(MIXED - len(acts))]
    half = len(others) // 2
    system.ask(*others[:half], *acts, *others[half:], kind=kind)


@pytest.mark.parametrize("act", [Act.EXIT, pytest.param(Act.LOOP, marks=pytest.mark.slow)])
def test_a_run_that_ends_its_process_fails_at_its_third_rescue_and_its_199_neighbours_succeed(
    moved: System, clock: Clock, act: Act
) -> None:
    moved.pace = IMPATIENT
    moved.started(slots=20)
    ask_among(moved, ORDER, act)

    def replace_the_dead() -> None:
        if not moved.alive():
            clock.advance(LEASE)
            moved.start(slots=20)

    sums = moved.settled(tend=replace_the_dead)
    assert sums.statuses == {"failed": 1, "success": MIXED - 1}
    (failed,) = moved.rows("select * from foxtrot.run_status where status = 'failed'")
    assert failed["parameters"] == {"act": act}
    assert [error["class"] for error in failed["errors"]] == ["WorkerLost"]
    ends = [worker.popen.returncode for worker in moved.workers]
    assert ends == [7 if act is Act.EXIT else STALLED] * 3 + [0]


def test_a_run_that_eats_all_memory_fails_and_neither_its_worker_nor_its_199_neighbours_do(moved: System) -> None:
    moved.started(slots=20, memory=ROOM)
    ask_among(moved, ORDER, Act.EAT)
    sums = moved.settled()
    assert sums.statuses == {"failed": 1, "success": MIXED - 1}
    (failed,) = moved.rows("select * from foxtrot.run_status where status = 'failed'")
    assert (failed["parameters"], failed["error"]["class"]) == ({"act": "eat"}, "MemoryError")
    assert len(moved.workers) == 1


def test_in_processes_of_their_own_all_of_them_fail_and_the_worker_lives_on(moved: System) -> None:
    cores = os.cpu_count() or 1
    moved.ask(*[Act.LOOP] * cores, kind=ORDER_ALONE)  # first, so that those that are claimed with them have to wait
    ask_among(moved, ORDER_ALONE, Act.EXIT, Act.EAT)
    moved.started(slots=2 * cores, memory=2 * ROOM)
    sums = moved.settled()
    failed = moved.rows("select * from foxtrot.run_status where status = 'failed'")
    assert {(run["parameters"].get("act"), run["error"]["class"]) for run in failed} == {
        ("exit", "ProcessDied"),
        ("eat", "MemoryError"),
        ("loop", "TimeoutError"),
    }
    assert sums.statuses == {"failed": cores + 2, "success": MIXED - 2}
    assert "The process of 'order_alone' ran out of memory" in {run["error"]["message"] for run in failed}
    assert len(moved.workers) == 1
    assert {row["pid"] for row in moved.ledger.rows("select pid from entry")}.isdisjoint({moved.workers[0].pid})


def test_50_runs_of_a_worker_that_is_told_to_stop_may_be_claimed_again_within_a_second(moved: System) -> None:
    (first,) = moved.started(slots=50, grace=0)
    runs = moved.ask(*[Order(number=number, gate="open") for number in range(50)])
    moved.begun(*runs)
    told = moved.one("select now()")
    first.popen.send_signal(signal.SIGTERM)
    assert first.popen.wait(30) == 0
    given_back = moved.rows("select * from foxtrot.queue where worker_id is null")
    assert [(row["attempt"], row["max_attempts"]) for row in given_back] == [(1, ATTEMPTS + 1)] * 50
    assert max(row["updated_at"] for row in given_back) - told < timedelta(seconds=1)
    moved.open("open")
    moved.started(slots=50)
    sums = moved.settled()
    assert (sums.statuses, sums.claims, sums.again) == ({"success": 50}, 100, 50)
