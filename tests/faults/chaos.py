"""A randomized mix of faults while clients ask for runs: half a minute of it is a test, half an hour the benchmark."""

import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from cli.postgres import EmbeddedPostgres
from tests.faults import checks
from tests.faults.clients import Clients
from tests.faults.handlers import Act, Order
from tests.faults.proxy import Proxy
from tests.faults.support import TROUBLES, Pace, System, WorkerProcess, crash, terminate, trouble
from tests.support import wait_until
from worker.leases import STALLED

LISTENER = "foxtrot-worker-listen"
USUAL = [Act.DO] * 8 + [Act.TALK] * 3 + [Act.STEP] * 2 + [Act.FAIL] * 2 + [Act.SNOOZE] * 2
POISON = [Act.EXIT, Act.EXIT, Act.EAT, Act.LOOP]
STATEMENTS = [
    "Claim",
    "Claim",
    "Finish",
    "Finish",
    "Retry",
    "Snooze",
    "Step",
    "Progress",
    "Enqueue",
    "Cancel",
    "Release",
]
EXITS = {0, 1, 7, STALLED, -signal.SIGKILL}  # 1 when Postgres was away while a worker stopped
OFTEN = {"kills": 3, "poisons": 2, "losses_of_answers": 2}
LOSSES = ("lost", "never_ended", "left_in_the_queue")
DOUBLES = ("ended_twice", "changed_after_the_end", "attempts_claimed_twice", "attempts_begun_twice")
ROOM = 300 << 20
QUIET = 0.4  # of the time: what is asked for afterwards comes to nobody's grief, so that all of it can end

# Held for long by a worker whose lease has ended: nobody rescues it.
OVERDUE = """
select count(*)
from foxtrot.queue q
left join foxtrot.workers w on w.id = q.worker_id
where q.worker_id is not null
    and greatest(w.lease_expires_at, pg_postmaster_start_time() + %s * interval '1 s', q.updated_at)
        < now() - %s * interval '1 s'
"""
# A run may fail because it is poison, or because it was in the hands of three workers that were killed.
FAILED_OTHERWISE = """
select count(*)
from foxtrot.run_status
where status = 'failed' and not coalesce(parameters ->> 'act', 'do') = any(%s) and error ->> 'class' <> 'WorkerLost'
"""
GIVEN_UP = """
select count(*)
from foxtrot.run_status
where status = 'failed' and not coalesce(parameters ->> 'act', 'do') = any(%s) and error ->> 'class' = 'WorkerLost'
"""


@dataclass
class Chaos:
    """Faults come over a system's workers and its server for so many seconds, as `seed` chooses; then all heals."""

    system: System
    server: EmbeddedPostgres
    proxy: Proxy
    seed: int
    seconds: float
    workers: int = 3
    counts: Counter[str] = field(default_factory=Counter)
    overdue: int = 0
    frozen: dict[WorkerProcess, float] = field(default_factory=dict)
    deaf_until: float = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.lease = self.system.pace.LEASE
        self.faults: dict[str, Callable[[], None]] = {
            "kills": self.kill,
            "freezes": self.freeze,
            "stops": self.stop,
            "crashes": self.crash,
            "cuts": self.cut,
            "silences": self.silence,
            "losses_of_answers": self.lose,
            "poisons": self.poison,
        }

    def run(self) -> dict[str, Any]:
        """Go through it all, and return what came of it: counts, and how often something was wrong."""
        begun = monotonic()
        trouble(self.system.url)
        self.system.started(self.workers, memory=ROOM)
        with Clients(self.system, self.order, seed=self.seed, clients=3, cancels=0.05, pause=0.05) as clients:
            while monotonic() < begun + self.seconds:
                self.let_go_on(self.chance.uniform(0.04, 0.3) * self.lease)
                self.strike(ending=monotonic() > begun + self.seconds * (1 - QUIET))
        self.heal()
        self.system.ended(20 * self.lease, self.tend)
        return self.sum_up(monotonic() - begun, clients)

    # What happens -----------------------------------------------------------------------------------------------------

    def order(self, chance: random.Random) -> Order:
        """What a client asks for."""
        return Order(act=chance.choice(USUAL), seconds=chance.choice([0, 0.05, 0.1, self.lease / 6]))

    def strike(self, *, ending: bool) -> None:
        """Let one fault happen; when it is `ending`, none that takes long to come to its end."""
        names = [name for name in self.faults for _ in range(OFTEN.get(name, 1)) if not (ending and name == "poisons")]
        name = self.chance.choice(names)
        self.counts[name] += 1
        self.faults[name]()

    def kill(self) -> None:
        """Kill -9 a worker."""
        for worker in self.one_of(self.system.alive()):
            worker.kill()

    def freeze(self) -> None:
        """Stop a worker, for longer than its lease or not."""
        for worker in self.one_of(self.awake() if len(self.frozen) < self.workers - 1 else []):
            worker.popen.send_signal(signal.SIGSTOP)
            self.frozen[worker] = monotonic() + self.chance.uniform(0.2, 1.8) * self.lease

    def stop(self) -> None:
        """Tell a worker to stop."""
        for worker in self.one_of(self.awake()):
            worker.tell_to_stop()

    def crash(self) -> None:
        """Stop Postgres at once, and start it after a while."""
        crash(self.server)
        back = monotonic() + self.chance.choice([0, 0, 0.3, 1.2]) * self.lease
        wait_until(lambda: monotonic() > back, within=2 * self.lease)
        self.server.start()

    def cut(self) -> None:
        """End every connection of workers and clients."""
        terminate(self.system, "foxtrot-%")

    def silence(self) -> None:
        """Let no notification through for a while."""
        self.proxy.close_to(LISTENER)
        self.deaf_until = monotonic() + self.lease

    def lose(self) -> None:
        """Lose the answer to a commit."""
        self.proxy.lose_commit(self.chance.choice(STATEMENTS), cut=self.chance.random() < 0.8)

    def poison(self) -> None:
        """Ask for a run that ends its process, or would."""
        self.system.ask(self.chance.choice(POISON))

    # What goes on meanwhile -------------------------------------------------------------------------------------------

    def one_of(self, workers: list[WorkerProcess]) -> list[WorkerProcess]:
        """One of them, if there is one."""
        return self.chance.sample(workers, min(1, len(workers)))

    def awake(self) -> list[WorkerProcess]:
        """The workers that are alive and not frozen."""
        return [worker for worker in self.system.alive() if worker not in self.frozen]

    def let_go_on(self, seconds: float) -> None:
        """Tend to it all for so long."""
        until = monotonic() + seconds

        def over() -> bool:
            self.tend()
            return monotonic() > until

        wait_until(over, within=seconds + 60)

    def tend(self) -> None:
        """Replace the workers that ended, wake the frozen whose time it is, and look whether anybody is forgotten."""
        now = monotonic()
        for worker in [worker for worker, until in self.frozen.items() if until < now]:
            worker.popen.send_signal(signal.SIGCONT)
            del self.frozen[worker]
        if self.deaf_until < now:
            self.proxy.open_to(LISTENER)
        for _ in range(self.workers - len(self.system.alive())):
            self.counts["replaced"] += 1
            self.system.start(memory=ROOM)
        self.overdue = max(self.overdue, self.system.one(OVERDUE, self.lease, 2 * self.lease + 5))

    def heal(self) -> None:
        """No fault goes on."""
        self.proxy.open_to(LISTENER)
        self.proxy.lose_nothing()
        for worker in self.frozen:
            worker.popen.send_signal(signal.SIGCONT)
        self.frozen.clear()

    # What came of it --------------------------------------------------------------------------------------------------

    def sum_up(self, seconds: float, clients: Clients) -> dict[str, Any]:
        """Counts, and what was wrong."""
        system = self.system
        system.let_end()  # with any of EXITS: handlers of these faults may stall a worker or crowd it until the end
        poison = [str(act) for act in POISON]
        ends = Counter(worker.popen.returncode for worker in system.workers)
        wrong = checks.faults(system.database, system.ledger, system.acknowledged) | {
            "overdue": self.overdue,
            "doctor": system.doctor(),
            "failed_otherwise": system.one(FAILED_OTHERWISE, poison),
            "exits": sum(count for code, count in ends.items() if code not in EXITS),
        }
        return {
            "seed": self.seed,
            "seconds": round(seconds, 1),
            "faults": dict(self.counts),
            "answers_lost": self.proxy.lost,
            "transient_errors": system.one(TROUBLES),
            "requests_repeated": clients.errors,
            "outcomes_refused": sum(len(worker.events("outcome_refused")) for worker in system.workers),
            "given_up": system.one(GIVEN_UP, poison),
            "workers": {str(code): count for code, count in sorted(ends.items())},
            **checks.sums(system.database, system.ledger).as_dict(),
            "losses": sum(wrong.get(name, 0) for name in LOSSES),
            "doubles": sum(wrong.get(name, 0) for name in DOUBLES),
            "wrong": {name: count for name, count in wrong.items() if count},
        }


def chaotic(pace: Pace) -> Pace:
    """The pace of workers that loop handlers may stall."""
    return replace(pace, LOOP_STALL=pace.LEASE, PATIENCE=pace.LEASE / 3)
