import signal

import psutil

from shared.settings import LEASE
from tests.clock import Clock
from tests.faults.handlers import Act, Order
from tests.faults.proxy import Proxy
from tests.faults.support import System
from tests.support import wait_until

HELD = "select count(*) from foxtrot.queue where worker_id is not null"


def test_a_worker_killed_in_the_handler(moved: System, clock: Clock) -> None:
    (victim,) = moved.started()
    (run,) = moved.ask(Order(gate="open"))
    moved.begun(run)
    victim.kill()
    clock.advance(LEASE)
    moved.open("open")
    moved.started()
    sums = moved.settled()
    assert (sums.statuses, sums.effects) == ({"success": 1}, 1)
    assert moved.run(run)["attempt"] == 2


def test_a_worker_killed_between_claim_and_start(moved: System, clock: Clock) -> None:
    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        (victim,) = moved.started()
        proxy.lose_commit("Claim", cut=False)
        (run,) = moved.ask(Act.DO)
        wait_until(lambda: proxy.lost)
        assert moved.one(HELD) == 1
        victim.kill()
    clock.advance(LEASE)
    moved.reached_at = moved.url
    moved.started()
    sums = moved.settled()
    assert (sums.statuses, sums.claims, sums.effects) == ({"success": 1}, 2, 1)
    assert moved.run(run)["attempt"] == 2


def test_a_worker_killed_between_effect_and_finish(moved: System, clock: Clock) -> None:
    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        (victim,) = moved.started()
        (run,) = moved.ask(Order(gate="open"))
        moved.begun(run)
        proxy.close_to("foxtrot-worker")  # a finish that was sent would be done, whoever is left to hear of it
        moved.open("open")
        moved.begun(run, what="effect")
        wait_until(lambda: victim.events("flush_failed"))
        victim.kill()
    clock.advance(LEASE)
    moved.reached_at = moved.url
    moved.started()
    sums = moved.settled()
    assert (sums.statuses, sums.effects, sums.repeated_effects) == ({"success": 1}, 2, 1)
    assert moved.run(run)["attempt"] == 2


def test_a_worker_stopped_for_longer_than_its_lease_has_its_late_outcome_refused_and_counted(
    moved: System, clock: Clock
) -> None:
    (zombie,) = moved.started()
    (run,) = moved.ask(Order(act=Act.FREEZE, gate="open"))
    wait_until(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED)
    clock.advance(LEASE)
    moved.started()
    wait_until(lambda: moved.run(run)["attempt"] == 2)
    zombie.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: zombie.events("outcome_refused"))
    assert moved.run(run)["status"] == "running"
    moved.open("open")
    sums = moved.settled()
    assert (sums.statuses, sums.effects, sums.repeated_effects) == ({"success": 1}, 2, 1)
    (refused,) = zombie.events("outcome_refused")
    assert (refused["run_id"], refused["attempt"], moved.run(run)["attempt"]) == (str(run), 1, 2)
    assert zombie.events("worker_stopped")[0]["refused"] == 1
