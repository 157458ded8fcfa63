"""10,000 users due at one instant: how long until all of their job searches are fresh, with one worker process.

`python -m benchmarks.job_search` prints JSON: the herd, beside it what fetching for each user would cost, and what a
match costs in the worker's index and in Postgres alone. `--quick` is a smaller run of half a minute. It starts all
that it needs on this machine, in a temporary folder, and leaves nothing behind.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from pydantic import HttpUrl

from benchmarks.figures import describe_machine, rounded
from benchmarks.herd import Boards, measure_herd
from benchmarks.matching import measure_matching, store_postings
from benchmarks.processes import migrated
from cli.postgres import EmbeddedPostgres
from kinds.job_search.handler import ASKED_AT_ONCE
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES
from shared.clock import utc_now

GREENHOUSE = SOURCES["greenhouse"]
USERS_AT_ONCE = 8  # the runs of cron that the 10 slots of a worker, as shipped, hold
LONGEST = 600.0  # seconds for the sample of users who fetch for themselves


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what it started, as Ctrl-C does
    options = _options()
    figures: dict[str, Any] = {"at": utc_now().isoformat(timespec="seconds"), "options": vars(options)}
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-benchmark-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder)) as postgres,
    ):
        figures["machine"] = describe_machine(postgres.url) | {"load_before": load}
        with closing(Boards(options.boards, options.postings, options.delay)) as boards:
            figures["herds"] = [_herd(postgres, boards, Path(folder), options.users, slots) for slots in options.slots]
            shared = figures["herds"][0]["first"]["all_fresh_seconds"]
            figures["one_fetch_per_user"] = asyncio.run(_fetch_for_each(boards, options, shared))
        figures["matching"] = _matching(postgres, options)
    figures["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(rounded(figures), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = "--quick" in sys.argv
    parser.add_argument("--quick", action="store_true", help="smaller defaults for everything")
    parser.add_argument("--users", type=int, default=500 if quick else 10_000)
    parser.add_argument("--boards", type=int, default=10 if quick else 50, help="of the herd, 100 at most")
    parser.add_argument("--postings", type=int, default=100 if quick else 500, help="on each board")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds until a board answers")
    parser.add_argument(
        "--slots", type=int, nargs="+", default=[10] if quick else [10, 50, 200], help="WORKER_SLOTS, a herd for each"
    )
    parser.add_argument("--own-fetches", type=int, default=2 if quick else 24, help="users who fetch for themselves")
    parser.add_argument("--stored-boards", type=int, default=20 if quick else 200, help="of the figures of matching")
    parser.add_argument("--by-sql", type=int, default=20 if quick else 100, help="searches that Postgres alone answers")
    return parser.parse_args()


def _herd(postgres: EmbeddedPostgres, boards: Boards, folder: Path, users: int, slots: int) -> dict[str, Any]:
    with migrated(postgres.url) as url:
        return measure_herd(url, boards, folder, users=users, slots=slots)


async def _fetch_for_each(boards: Boards, options: argparse.Namespace, shared_seconds: float) -> dict[str, Any]:
    """A sample of users who each fetch and read all boards for themselves, and all users by that rate.

    As kind to that way as can be: nothing is stored or matched, and nothing is kept apart.
    """
    sample: int = options.own_fetches
    settings = JobSearchSettings(job_sources_url=HttpUrl(boards.url))
    users, requests = asyncio.Semaphore(USERS_AT_ONCE), sample * len(boards.names)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=100)) as http, asyncio.timeout(LONGEST):

        async def fetch_all() -> None:
            async with users:
                room = asyncio.Semaphore(ASKED_AT_ONCE)
                await asyncio.gather(*(fetch(name, room) for name in boards.names))

        async def fetch(name: str, room: asyncio.Semaphore) -> None:
            async with room:
                fetched = await GREENHOUSE.fetch(http, name, settings)
                assert len(fetched.postings) == options.postings

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(fetch_all() for _ in range(sample)))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    for_all = seconds / sample * options.users
    return {
        "sample": {"users": sample, "requests": requests, "seconds": seconds, "cpu_seconds": cpu},
        "extrapolated": {
            "requests": len(boards.names) * options.users,
            "seconds": for_all,
            "seconds_at_the_rate_that_sources_are_asked": GREENHOUSE.gap.total_seconds()
            * len(boards.names)
            * options.users,
        },
        "seconds_over_shared": for_all / shared_seconds,
        "requests_over_shared": options.users,
    }


def _matching(postgres: EmbeddedPostgres, options: argparse.Namespace) -> dict[str, Any]:
    with migrated(postgres.url) as url:
        store_postings(url, options.stored_boards, options.postings)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            measured = process.submit(
                measure_matching, url, boards=options.stored_boards, users=options.users, by_sql=options.by_sql
            )
            return measured.result()


if __name__ == "__main__":
    main()
