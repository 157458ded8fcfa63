"""Workers under every fault at random, for as long as asked: no run is lost, none has two results.

`python -m benchmarks.chaos --minutes 30 --seed 7` prints JSON, and exits with 1 when anything is wrong. Without a seed
it chooses one, and says it. Workers and clients reach Postgres over a proxy that loses answers; faults come about every
fifth of a lease. `--deployed` takes leases and intervals as they are deployed instead of a fifth of them. It starts all
that it needs on this machine, in a temporary folder, and leaves nothing behind.
"""

import argparse
import json
import logging
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

import migrations
from cli.postgres import EmbeddedPostgres
from shared.clock import utc_now
from shared.logs import configure_logs
from tests.faults.chaos import Chaos, chaotic
from tests.faults.proxy import Proxy
from tests.faults.support import AS_DEPLOYED, SHORT, set_leases, system


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what it started, as Ctrl-C does
    logging.disable()  # the pool's words about what is done to it
    configure_logs("critical")
    options = _options()
    print(f"seed {options.seed}", file=sys.stderr)
    at = utc_now().isoformat(timespec="seconds")
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-benchmark-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "ledger") as ledger,
        EmbeddedPostgres(Path(folder) / "system") as server,
    ):
        came_to = _chaos(server, ledger, Path(folder), options)
    print(json.dumps({"at": at, "options": vars(options)} | came_to, indent=1))
    sys.exit(bool(came_to["wrong"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--deployed", action="store_true", help="leases of 15 s, as deployed, instead of 3 s")
    return parser.parse_args()


def _chaos(
    server: EmbeddedPostgres, ledger: EmbeddedPostgres, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    pace = AS_DEPLOYED if options.deployed else SHORT
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("create database chaos")
    url = urlsplit(server.url)._replace(path="/chaos").geturl()
    migrations.upgrade(url)
    if not options.deployed:
        set_leases(url, pace)
    with Proxy(url) as proxy, system(url, ledger.url, folder, pace=chaotic(pace), reached_at=proxy.url) as made:
        return Chaos(made, server, proxy, options.seed, options.minutes * 60, options.workers).run()


if __name__ == "__main__":
    main()
