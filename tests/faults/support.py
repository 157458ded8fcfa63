"""What the fault tests share: worker processes, the runs that were acknowledged, a ledger of effects, and a checker."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psutil
import psycopg
from psycopg import AsyncConnection

from cli.postgres import EmbeddedPostgres
from cli.postgres_cluster import is_alive
from shared.db import in_transaction, open_pool
from shared.kinds import Kind
from shared.queue import NewRun, enqueue_many
from tests.faults import checks
from tests.faults.checks import Reader
from tests.faults.handlers import GATES, LEDGER, ORDER, Act, Order
from tests.faults.worker_process import MEMORY, PACE
from tests.support import database, wait_until

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SEED = "FOXTROT_SEED"
CONNECTED = "select pid from foxtrot.workers where foxtrot.alive(lease_expires_at)"
LIVE = "select exists (select from foxtrot.queue)"
BEGUN = "select exists (select from entry where run_id = %s and what = %s)"

# Every fifty-third change of a table fails, in three ways that pass by themselves.
TROUBLE = """
create sequence witness.changes;
create function witness.trouble() returns trigger language plpgsql security definer as $$
declare
    change bigint := nextval('witness.changes');
begin
    if change % 53 = 0 then
        raise 'trouble' using errcode = (array['40001', '40P01', '55P03'])[change / 53 % 3 + 1];
    end if;
    return null;
end $$;
"""
TROUBLED = """
create trigger trouble after insert or update or delete on foxtrot.{} execute function witness.trouble()
"""
TABLES = ("queue", "runs", "run_steps", "workers")
TROUBLES = "select last_value / 53 from witness.changes"


@dataclass(frozen=True)
class Pace:
    """The intervals of a worker in seconds, by the names of their constants."""

    LEASE: float = 15
    RENEW_EVERY: float = 5
    RESCUE_EVERY: float = 5
    RECONCILE_EVERY: float = 2
    LOOP_STALL: float = 300
    PATIENCE: float = 10


AS_DEPLOYED = Pace()
# For a database whose clock the test moves: leases are as long as ever, and nobody has to wait for the rest.
BRISK = Pace(RENEW_EVERY=0.2, RESCUE_EVERY=0.2, RECONCILE_EVERY=0.2, LOOP_STALL=60, PATIENCE=0.2)
# The loop says every second that it lives.
IMPATIENT = replace(BRISK, LOOP_STALL=1.6)
# For real time: everything a third or less of what is deployed, and a lease still three renewals long.
SHORT = Pace(LEASE=3, RENEW_EVERY=1, RESCUE_EVERY=0.5, RECONCILE_EVERY=0.5, LOOP_STALL=300, PATIENCE=1)


@dataclass(eq=False)
class WorkerProcess:
    """A worker and what it says."""

    popen: subprocess.Popen[bytes]
    log: Path
    told_to_stop: bool = False

    @property
    def pid(self) -> int:
        return self.popen.pid

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What it logged so far, or what of it has that name."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [entry for entry in found if name in {"", entry["event"]}]

    def has_started(self) -> bool:
        """Whether it listens to signals."""
        return any(entry["event"].endswith("_started") for entry in self.events())

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.popen.kill()
        self.popen.wait()

    def tell_to_stop(self) -> None:
        """Send a SIGTERM once: the second one ends it at once, and so does one before it listens to any."""
        if not self.told_to_stop:
            wait_until(lambda: self.has_started() or self.popen.poll() is not None, within=30)
            self.popen.terminate()
        self.told_to_stop = True

    def stop(self, within: float = 30) -> int:
        """Its exit code after a SIGTERM."""
        self.tell_to_stop()
        return self.popen.wait(within)


@dataclass
class System:
    """A database and its workers, the runs that were acknowledged to somebody, and the ledger of their effects.

    `reached_at` is where workers and clients find the database: itself, or what stands before it.
    """

    database: Reader
    ledger: Reader
    folder: Path
    pace: Pace
    reached_at: str
    workers: list[WorkerProcess] = field(default_factory=list)
    acknowledged: set[UUID] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The database itself."""
        return self.database.url

    # Workers ----------------------------------------------------------------------------------------------------------

    def start(self, slots: int = 10, grace: float = 5, memory: int = 0, **settings: object) -> WorkerProcess:
        """A new worker; it has not registered yet."""
        ours = {
            "worker_slots": slots,
            "worker_grace_seconds": grace,
            "worker_poll_interval_seconds": 0.1,
            PACE: json.dumps(asdict(self.pace)),
            MEMORY: memory,
        }
        return self.launch("tests.faults.worker_process", **ours | settings)

    def launch(self, module: str, *arguments: str, **settings: object) -> WorkerProcess:
        """A process of that module, which is stopped with the workers."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        ours = {
            "DATABASE_URL": self.reached_at,
            "FOXTROT_KINDS": "tests.faults.handlers",
            "PYTHONPATH": str(ROOT),
            LEDGER: self.ledger.url,
            GATES: str(self.folder),
        }
        environment = kept | ours | {name.upper(): str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", module, *arguments]
        log = self.folder / f"{len(self.workers)}.log"
        with log.open("wb") as said:
            popen = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self.workers.append(WorkerProcess(popen, log))
        return self.workers[-1]

    def started(self, number: int = 1, **options: Any) -> list[WorkerProcess]:
        """So many new workers, each of them registered."""
        new = [self.start(**options) for _ in range(number)]
        wait_until(lambda: {worker.pid for worker in new} <= self.connected(), within=30)
        return new

    def connected(self) -> set[int]:
        """The pids of the workers whose leases live."""
        return {row["pid"] for row in self.rows(CONNECTED)}

    def alive(self) -> list[WorkerProcess]:
        """The workers whose processes run."""
        return [worker for worker in self.workers if worker.popen.poll() is None]

    def stop(self) -> None:
        """Stop every worker that runs; each has recorded everything, or this fails."""
        codes = self.let_end()
        assert codes == [0] * len(codes), codes

    def let_end(self) -> list[int]:
        """Stop every worker that runs, and return the exit codes."""
        alive = self.alive()
        for worker in alive:
            worker.tell_to_stop()
        return [worker.popen.wait(30) for worker in alive]

    # Runs -------------------------------------------------------------------------------------------------------------

    def ask(self, *orders: Order | Act, kind: Kind[Any, Any] = ORDER) -> list[UUID]:
        """Have runs acknowledged, each to another user."""
        asked = [order if isinstance(order, Order) else Order(act=order) for order in orders]
        new = [NewRun.of(kind, order, user_id=uuid4()) for order in asked]
        runs = [entered.run_id for entered in self.transact(lambda conn: enqueue_many(conn, new))]
        self.acknowledged.update(runs)
        return runs

    def transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What `work` returns, done in a transaction of its own."""

        async def main() -> T:
            async with open_pool(self.url, "test", size=1) as pool:
                return await in_transaction(pool, work)

        return asyncio.run(main())

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        return self.database.rows(query, *values)

    def one(self, query: str, *values: Any) -> Any:
        """The first column of the first row."""
        return next(iter(self.rows(query, *values)[0].values()))

    def run(self, run_id: UUID) -> dict[str, Any]:
        """A run as its readers see it, with its attempts left while it is live."""
        return self.rows(
            "select r.*, q.max_attempts as allowed, q.rescues from foxtrot.run_status r"
            " left join foxtrot.queue q on q.run_id = r.id where r.id = %s",
            run_id,
        )[0]

    def open(self, gate: str) -> None:
        """Let the handlers go on that wait at the gate."""
        (self.folder / gate).touch()

    def begun(self, *runs: UUID, what: str = "begin") -> None:
        """Return once these runs' handlers have begun."""
        wait_until(lambda: all(self.ledger.rows(BEGUN, run, what)[0]["exists"] for run in runs), within=30)

    def ended(self, within: float = 30, tend: Callable[[], object] = lambda: None) -> None:
        """Return once nothing is live any more; `tend` is called meanwhile."""
        wait_until(lambda: (tend(), not self.one(LIVE))[1], within=within)

    def doctor(self) -> int:
        """The exit code of `foxtrot doctor`."""
        return self.launch("cli", "doctor").popen.wait(30)

    def settled(self, *, within: float = 30, tend: Callable[[], object] = lambda: None) -> checks.Sums:
        """Wait for the end of all runs and workers, and check that what must hold after every fault does."""
        self.ended(within, tend)
        self.stop()
        return checks.check(self.database, self.ledger, self.acknowledged)


@contextmanager
def system(
    url: str, server: str, folder: Path, *, pace: Pace = BRISK, reached_at: str | None = None
) -> Iterator[System]:
    """A system on the migrated database at `url`, its ledger at `server`. None of its processes outlives the block."""
    checks.watch(url)
    with ExitStack() as stack:
        ledger = stack.enter_context(database(server))
        with psycopg.connect(ledger) as conn:
            conn.execute(checks.LEDGER)
        made = System(Reader(url), Reader(ledger), folder, pace, reached_at or url)
        stack.callback(made.ledger.close)
        stack.callback(made.database.close)
        stack.callback(end_all, made.workers)
        yield made


def end_all(workers: Sequence[WorkerProcess]) -> None:
    """Kill what still runs."""
    for worker in workers:
        if worker.popen.poll() is None:
            worker.kill()


def set_leases(url: str, pace: Pace, before: Pace = AS_DEPLOYED) -> None:
    """Let leases live for as long after a start of the server as a worker of that pace asks for."""
    was, now = (f"'{timedelta(seconds=each.LEASE)!s:0>8}'" for each in (before, pace))
    with psycopg.connect(url) as conn:
        (definition,) = conn.execute("select pg_get_functiondef('foxtrot.alive'::regproc)").fetchall()[0]
        assert was in definition
        conn.execute(definition.replace(was, now))


def trouble(url: str) -> None:
    """Let statements fail now and then from here on, as those of many workers on one server do."""
    with psycopg.connect(url) as conn:
        conn.execute(TROUBLE)
        for table in TABLES:
            conn.execute(TROUBLED.format(table))


def crash(server: EmbeddedPostgres) -> None:
    """Stop a server at once, as when its machine dies: sessions end in the middle of whatever they do."""
    postmaster = psutil.Process(int((server.cluster / "postmaster.pid").read_text().split()[0]))
    postmaster.send_signal(signal.SIGQUIT)
    wait_until(lambda: not is_alive(postmaster), within=30)  # who started it takes its exit code


def terminate(system: System, application: str) -> int:
    """End every backend of an application (a LIKE pattern); how many that were."""
    query = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and application_name like %s and pid <> pg_backend_pid()"
    )
    return int(system.one(query, application))


def seed() -> int:
    """FOXTROT_SEED, or another one each time; pytest shows it when the test fails."""
    chosen = int(os.environ.get(SEED) or random.randrange(10**6))
    print(f"{SEED}={chosen}")  # noqa: T201 - for who has to repeat it
    return chosen
