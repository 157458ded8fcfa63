"""Five scheduler processes on one database, killed at random while schedules come due: every slot is settled once.

`python -m benchmarks.scheduler_chaos --seed 7` prints JSON, and exits with 1 when anything is wrong. Without a seed it
chooses one, and says it. `--quick` takes some seconds. It starts all that it needs on this machine, in a temporary
folder, and leaves nothing behind.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import migrations
from cli.postgres import EmbeddedPostgres
from shared.clock import utc_now
from tests import clock as clocks
from tests.faults.killed_schedulers import Chaos
from tests.support import database


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what it started, as Ctrl-C does
    options = _options()
    print(f"seed {options.seed}", file=sys.stderr)
    at = utc_now().isoformat(timespec="seconds")
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-benchmark-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder)) as postgres,
        database(postgres.url) as url,
    ):
        clocks.install(url)
        migrations.upgrade(url)
        came_to = _chaos(clocks.Clock(url), options)
    print(json.dumps({"at": at, "options": vars(options)} | came_to, indent=1))
    sys.exit(any(came_to["wrong"].values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = "--quick" in sys.argv
    parser.add_argument("--quick", action="store_true", help="smaller defaults for everything")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--schedules", type=int, default=5_000 if quick else 50_000, help="over 20 timetables")
    parser.add_argument("--rounds", type=int, default=2 if quick else 6, help="slots of each schedule")
    parser.add_argument("--kills", type=int, default=3 if quick else 8, help="in each round")
    parser.add_argument(
        "--chunk", type=int, default=50, help="EXPAND_CHUNK: small ones make many moments to be killed at"
    )
    return parser.parse_args()


def _chaos(clock: clocks.Clock, options: argparse.Namespace) -> dict[str, Any]:
    return Chaos(
        clock,
        options.seed,
        schedules=options.schedules,
        rounds=options.rounds,
        kills=options.kills,
        chunk=options.chunk,
    ).run()


if __name__ == "__main__":
    main()
