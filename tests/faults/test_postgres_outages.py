import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from random import Random
from time import monotonic
from uuid import UUID

import pytest

from cli.postgres import EmbeddedPostgres
from shared.db import in_transaction, open_pool
from shared.queue import cancel
from tests.faults.clients import Clients
from tests.faults.handlers import Act, Order
from tests.faults.proxy import Proxy
from tests.faults.support import AS_DEPLOYED, SHORT, System, crash, set_leases, terminate
from tests.support import wait_until

SUCCESSES = "select count(*) from foxtrot.runs where status = 'success'"
EFFECTS = "select count(*) from entry where what = 'effect'"
LISTENS = "select pid from pg_stat_activity where datname = current_database() and application_name = %s"
LISTENER = "foxtrot-worker-listen"
MOST_COMPLAINTS = 60  # of one worker about one outage: backoff, not a loop


def order(chance: Random) -> Order:
    return Order(act=chance.choice([Act.DO, Act.DO, Act.TALK, Act.STEP]), seconds=0.1)


def complaints(system: System) -> list[Counter[str]]:
    """What each worker warned of."""
    return [
        Counter(entry["event"] for entry in worker.events() if entry["level"] in {"warning", "error", "critical"})
        for worker in system.workers
    ]


def test_postgres_stopped_at_once_and_started_again_under_load(
    stoppable: System, own_postgres: EmbeddedPostgres
) -> None:
    workers = stoppable.started(2)
    held = stoppable.ask(*[Order(number=number, gate="open") for number in range(5)])
    with Clients(stoppable, order) as clients:
        wait_until(lambda: stoppable.one(SUCCESSES) > 20, within=30)
        stoppable.begun(*held)
        ids = stoppable.rows("select id from foxtrot.workers order by id")
        crash(own_postgres)
        stoppable.open("open")
        wait_until(lambda: clients.errors and all(worker.events("listen_failed") for worker in workers), within=30)
        own_postgres.start()
        before = stoppable.one(SUCCESSES)
        wait_until(lambda: stoppable.one(SUCCESSES) > before + 50, within=30)
    assert stoppable.rows("select id from foxtrot.workers order by id") == ids
    sums = stoppable.settled()
    assert set(sums.statuses) == {"success"}
    assert {stoppable.run(run)["attempt"] for run in held} == {1}
    assert len(stoppable.workers) == 2
    for told in complaints(stoppable):
        assert {"lease_lost", "runs_rescued", "outcome_refused"}.isdisjoint(told)
        assert sum(told.values()) < MOST_COMPLAINTS


def outage(system: System, server: EmbeddedPostgres, seconds: float) -> None:
    """Postgres is away for so long while a hundred runs are in hand, and their handlers end meanwhile."""
    system.started(2, slots=60)
    runs = system.ask(*[Order(number=number, gate="open") for number in range(100)])
    system.begun(*runs)
    crash(server)
    went = monotonic()
    system.open("open")
    wait_until(lambda: system.ledger.rows(EFFECTS)[0]["count"] == 100)
    wait_until(lambda: monotonic() > went + seconds, within=seconds + 10)
    server.start()
    sums = system.settled(within=10)  # however long it was away
    assert (sums.statuses, sums.claims, sums.effects) == ({"success": 100}, 100, 100)
    for told in complaints(system):
        assert {"lease_lost", "runs_rescued", "runs_released", "outcome_refused"}.isdisjoint(told)


def test_an_outage_longer_than_a_lease_rescues_nobody_and_loses_no_outcome(
    stoppable: System, own_postgres: EmbeddedPostgres
) -> None:
    outage(stoppable, own_postgres, SHORT.LEASE)


@pytest.mark.slow
def test_an_outage_of_five_minutes(stoppable: System, own_postgres: EmbeddedPostgres) -> None:
    set_leases(stoppable.url, AS_DEPLOYED, SHORT)
    stoppable.pace = AS_DEPLOYED
    outage(stoppable, own_postgres, 5 * 60)


def test_every_backend_ended_again_and_again_under_load(moved: System) -> None:
    moved.started(2)
    ended = 0
    with Clients(moved, order):
        for _ in range(4):
            before = moved.one(SUCCESSES)
            wait_until(lambda: moved.one(SUCCESSES) > before + 20, within=30)  # noqa: B023 - waited for here
            ended += terminate(moved, "foxtrot-%")
    assert ended > 4 * 6
    sums = moved.settled()
    assert set(sums.statuses) == {"success"}
    for told in complaints(moved):
        assert {"lease_lost", "runs_rescued"}.isdisjoint(told)
        assert sum(told.values()) < 4 * MOST_COMPLAINTS


def test_a_cut_listener_comes_back_and_meanwhile_polling_does_its_work(moved: System) -> None:
    def wake_for(run_order: Order) -> None:
        (run,) = moved.ask(run_order)
        moved.rows("select pg_notify('foxtrot_queue', 'order')")
        wait_until(lambda: moved.run(run)["status"] == "success")

    with Proxy(moved.url) as proxy:
        moved.reached_at = proxy.url
        proxy.close_to(LISTENER)
        (polls,) = moved.started()
        wake_for(Order())
        wait_until(lambda: polls.events("listen_failed"))
        wake_for(Order())
        assert polls.stop() == 0
        moved.started(worker_poll_interval_seconds=60)
        proxy.open_to(LISTENER)
        for _ in range(3):
            wait_until(lambda: moved.rows(LISTENS, LISTENER))
            listener = moved.one(LISTENS, LISTENER)
            wait_until(lambda: is_idle_listener(moved, listener))  # noqa: B023 - waited for here
            wake_for(Order())
            assert terminate(moved, LISTENER) == 1
            wait_until(lambda: [row["pid"] for row in moved.rows(LISTENS, LISTENER)] not in ([], [listener]))  # noqa: B023
        moved.settled()


def is_idle_listener(system: System, pid: int) -> bool:
    """Whether that backend listens to every channel by now."""
    query = "select exists (select from pg_stat_activity where pid = %s and state = 'idle' and query ilike %s)"
    return bool(system.one(query, pid, "listen%cancel%"))


def give_up(system: System, runs: Sequence[UUID]) -> int:
    """Cancel runs, some at a time; how many of them were live."""
    users = {row["id"]: row["user_id"] for row in system.rows("select id, user_id from foxtrot.runs")}

    async def main() -> int:
        async with open_pool(system.url, "client", size=4) as pool:
            cancels = [
                partial(cancel, run_id=run, user_id=users[run], retention=timedelta(days=1), max_attempts=3)
                for run in runs
            ]
            return sum(map(bool, await asyncio.gather(*[in_transaction(pool, one) for one in cancels])))

    return asyncio.run(main())


def test_progress_outcomes_and_cancels_of_a_thousand_runs_at_once_meet_no_deadlock(moved: System) -> None:
    moved.started(2, slots=500, grace=20)
    runs = moved.ask(*[Order(act=Act.RUSH, number=number, gate="open") for number in range(1000)])
    moved.begun(*runs, what="effect")
    cancelled = give_up(moved, runs[:200:4])
    moved.open("open")
    cancelled += give_up(moved, runs[200::4])  # of which some have ended by then
    sums = moved.settled()
    assert sums.statuses == {"cancelled": cancelled, "success": 1000 - cancelled}
    assert moved.one("select deadlocks from pg_stat_database where datname = current_database()") == 0
