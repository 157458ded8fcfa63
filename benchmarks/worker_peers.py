"""What other queues make of the same work: run by `worker.py` with the Python of a venv that has them.

`python worker_peers.py PEER QUESTION URL N` prints JSON. QUESTION is `drain`: N no-op jobs that are there already,
finished ones kept if the peer can; or `latency`: N jobs, each enqueued when the last has long begun.
"""

import asyncio
import importlib
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# Not imported as usual: they are in no environment of ours.
load = importlib.import_module

SLOTS = 1000
GAP = 0.05


class PgQueuer:
    """Finished jobs are deleted, and a line of each kept in its log table."""

    batch = 500

    def __init__(self, url: str) -> None:
        self.url = url
        self.about = {"version": load("importlib.metadata").version("pgqueuer"), "history": "its log table"}

    async def connect(self) -> Any:
        """A connection of its own."""
        conn = await load("asyncpg").connect(self.url)  # with psycopg it hears of new jobs once a second
        return load("pgqueuer.queries").Queries(load("pgqueuer.db").AsyncpgDriver(conn))

    async def enqueue(self, numbers: list[int]) -> None:
        """Jobs, together."""
        queries = await self.connect()
        payloads = [str(number).encode() for number in numbers]
        await queries.enqueue(["noop"] * len(numbers), payloads, [0] * len(numbers))

    async def install(self) -> None:
        """Its schema."""
        await (await self.connect()).install()

    async def work(self, begin: Callable[[str], None], *, drain: bool) -> None:
        """Work, until all is done or for ever; `begin` hears of each job."""
        manager = load("pgqueuer.qm").QueueManager(await self.connect())

        @manager.entrypoint("noop")  # type: ignore[untyped-decorator,unused-ignore]
        async def noop(job: Any) -> None:
            begin(job.payload.decode())

        modes = load("pgqueuer.types").QueueExecutionMode
        await manager.run(batch_size=self.batch, mode=modes.drain if drain else modes.continuous)


class PgQueuerAsShipped(PgQueuer):
    """With the size of batch that it has unless it is told another."""

    batch = 10


class Procrastinate:
    """Finished jobs are kept."""

    def __init__(self, url: str) -> None:
        module = load("procrastinate")
        self.about = {"version": module.__version__, "history": "kept"}
        self.app = module.App(connector=module.PsycopgConnector(conninfo=url))
        self.begin: Callable[[str], None] = lambda _: None

        @self.app.task(name="noop")  # type: ignore[untyped-decorator,unused-ignore]
        async def noop(number: int) -> None:
            self.begin(str(number))

        self.noop = noop

    async def install(self) -> None:
        """Its schema."""
        async with self.app.open_async():
            await self.app.schema_manager.apply_schema_async()

    async def enqueue(self, numbers: list[int]) -> None:
        """Jobs, together."""
        async with self.app.open_async():
            await self.noop.batch_defer_async(*({"number": number} for number in numbers))

    async def work(self, begin: Callable[[str], None], *, drain: bool) -> None:
        """Work, until all is done or for ever; `begin` hears of each job."""
        self.begin = begin
        async with self.app.open_async():
            await self.app.run_worker_async(concurrency=SLOTS, wait=not drain, install_signal_handlers=False)


PEERS: dict[str, Callable[[str], Any]] = {
    "pgqueuer": PgQueuer,
    "pgqueuer_as_shipped": PgQueuerAsShipped,
    "procrastinate": Procrastinate,
}


def drain(peer: Any, n: int) -> dict[str, Any]:
    """Everything is there before the time begins, which is when the first job does."""
    asyncio.run(peer.install())
    for first in range(0, n, 5000):
        asyncio.run(peer.enqueue(list(range(first, min(first + 5000, n)))))
    began: list[float] = []
    asyncio.run(peer.work(lambda _: began.append(time.perf_counter()), drain=True))
    seconds = time.perf_counter() - began[0]
    assert len(began) == n, f"{len(began)} of {n} began"
    return {"jobs": n, "seconds": seconds, "per_second": n / seconds}


def latency(peer: Any, n: int) -> dict[str, Any]:
    """From just before the enqueueing call to the first line of the handler, in a process of its own."""
    asyncio.run(peer.install())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(sys.argv[1], sys.argv[3], theirs), daemon=True)
    worker.start()
    took = asyncio.run(_ask(peer, ours, n))
    worker.kill()
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {"jobs": n, "ms": {"p50": cuts[49], "p99": cuts[98], "max": max(took)}}


async def _ask(peer: Any, worker: Connection, n: int) -> list[float]:
    took = []
    sender = peer.app.open_async() if isinstance(peer, Procrastinate) else await peer.connect()
    if isinstance(peer, Procrastinate):
        await sender.__aenter__()
    for number in range(-5, n):  # the first few while the worker starts
        begun = time.time()
        if isinstance(peer, Procrastinate):
            await peer.noop.defer_async(number=number)
        else:
            await sender.enqueue("noop", str(number).encode())
        while True:
            assert worker.poll(30), f"job {number} did not begin"  # only the enqueueing runs in this process
            said, at = worker.recv()
            if said == str(number):
                break
        if number >= 0:
            took.append(1000 * (at - begun))
        await asyncio.sleep(GAP)
    return took


def _work(name: str, url: str, parent: Connection) -> None:
    peer = PEERS[name](url)
    asyncio.run(peer.work(lambda said: parent.send((said, time.time())), drain=False))


if __name__ == "__main__":
    chosen = PEERS[sys.argv[1]](sys.argv[3])
    answer = {"drain": drain, "latency": latency}[sys.argv[2]](chosen, int(sys.argv[4]))
    print(json.dumps(chosen.about | answer))
