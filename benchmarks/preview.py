"""Previewing a timetable: what ten accepted expressions cost, and what it costs to refuse a hostile one.

`python -m benchmarks.preview` prints JSON: milliseconds with every cache empty (cold) and filled (warm), beside what
cronsim and zoneinfo alone take for the same six slots, without checks, words and warnings. `--quick` is a smaller run.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from shared import cron
from shared.clock import utc_now
from shared.errors import InvalidInputError
from shared.preview import Preview, preview

NOW = datetime(2026, 8, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
SLOTS = 6
ZONES = ["Europe/London", "America/New_York", "Africa/Casablanca", "Australia/Lord_Howe", "UTC"]

TIMETABLES = {
    "refresh_times": [f"{minute} {hour} * * *" for hour in (8, 10, 14, 16, 22) for minute in (0, 45)],
    "days_and_months": [f"{5 * i} {i} {i + 1},{2 * i + 1} * {i % 7}" for i in range(10)],
    "one_month_each": [f"{i} 8 * {i + 1} *" for i in range(10)],
    "every_5_minutes": [f"*/5 {i}-23 * * *" for i in range(9)] + ["0 3 29 2 *"],
    "leap_days": [f"{5 * i} {i} 29 2 *" for i in range(10)],
}

HOSTILE: dict[str, tuple[list[str], str]] = {
    "no_expression": ([], "UTC"),
    "100000_expressions": (["0 8 * * *"] * 100_000, "UTC"),
    "seconds": (["0 0 8 * * *"], "UTC"),
    "30_february": (["0 8 30 2 *"], "UTC"),
    "never_within_5_years": (["0 0 */31 * 1#5"], "Europe/London"),
    "ten_never_within_5_years": ([f"{i} 0 */31 * 1#5" for i in range(10)], "Europe/London"),
    "every_minute": (["* * * * *"], "Europe/London"),
    "every_minute_in_six_terms": (["*/1,*/1,*/1,*/1,*/1,*/1 * * * *"], "Europe/London"),
    "too_often_at_last": ([f"*/5 {i}-23 * * *" for i in range(9)] + ["1-59/5 8 29 2 *"], "Europe/London"),
    "reboot": (["@reboot"], "UTC"),
    "arabic_digits": (["\u0660-\u0665 * * * *"], "UTC"),
    "600_characters": ([",".join(["0-59"] * 120) + " * * * *"], "UTC"),
    "100000_characters": (["* " * 50_000], "UTC"),
    "range_of_100000000": (["1-99999999 * * * *"], "UTC"),
    "nul": (["0 8 * * *\x00"], "UTC"),
    "zone_nearly": (["0 8 * * *"], "EST5EDT-ish"),
    "zone_without_place": (["0 8 * * *"], "Europe"),
    "zone_of_300_characters": (["0 8 * * *"], "america/argentina/buenos" * 12),
    "zone_of_800000_characters": (["0 8 * * *"], "america/" * 100_000),
    "zone_localtime": (["0 8 * * *"], "localtime"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds by default")
    parser.add_argument("--rounds", type=int, default=10 if "--quick" in sys.argv else 100, help="calls of each kind")
    options = parser.parse_args()
    figures: dict[str, Any] = {"at": utc_now().isoformat(timespec="seconds"), "options": vars(options)}
    figures["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }
    figures["accepted"] = {
        name: {zone: measure_accepted(crons, zone, options.rounds) for zone in ZONES}
        for name, crons in TIMETABLES.items()
    }
    figures["refused"] = {name: measure(refusal(*rule), options.rounds) for name, rule in HOSTILE.items()}
    figures["slowest"] = {
        part: {name: max(each[name] for each in spreads(figures[part])) for name in ("p50_ms", "p99_ms", "cpu_p99_ms")}
        for part in ("accepted", "refused")
    }
    figures["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=1))


def measure_accepted(crons: list[str], zone: str, rounds: int) -> dict[str, Any]:
    def show() -> Preview:
        return preview(crons, zone, now=NOW, min_interval=FIVE_MINUTES, n=SLOTS)

    assert [slot.at for slot in show().slots] == plain_slots(crons, zone)
    ours = measure(show, rounds)
    plain = measure(lambda: plain_slots(crons, zone), rounds)
    return {**ours, "plain": plain, "over_plain": round(ours["warm"]["p50_ms"] / plain["warm"]["p50_ms"], 2)}


def plain_slots(crons: list[str], zone: str) -> list[datetime]:
    """The slots as cronsim has them in that zone."""
    start = NOW.astimezone(ZoneInfo(zone))
    # By its name, since the project imports it in one place only.
    cronsim = importlib.import_module("cronsim")
    walks = ((slot.astimezone(UTC) for slot in islice(cronsim.CronSim(each, start), SLOTS)) for each in crons)
    return list(islice(dict.fromkeys(merge(*walks)), SLOTS))


def refusal(crons: list[str], zone: str) -> Callable[[], object]:
    def refuse() -> None:
        try:
            preview(crons, zone, now=NOW, min_interval=FIVE_MINUTES)
        except InvalidInputError:
            return
        raise AssertionError(f"{crons[:1]} in {zone[:40]} was accepted")

    return refuse


def measure(call: Callable[[], object], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of so many calls with empty caches, and of as many with filled ones."""
    return {
        "cold": spread([once(call, cold=True) for _ in range(rounds)]),
        "warm": spread([once(call) for _ in range(rounds)]),
    }


def once(call: Callable[[], object], *, cold: bool = False) -> tuple[float, float]:
    """Milliseconds that passed, and those of the processor, which a busy neighbour takes nothing from."""
    if cold:
        empty_caches()
    begun, cpu = time.perf_counter(), time.thread_time()
    call()
    return (time.perf_counter() - begun) * 1000, (time.thread_time() - cpu) * 1000


def empty_caches() -> None:
    ZoneInfo.clear_cache()
    for each in vars(cron).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def spread(times: list[tuple[float, float]]) -> dict[str, float]:
    passed, cpu = (sorted(each) for each in zip(*times, strict=True))
    p50, p99 = (int(share * (len(times) - 1)) for share in (0.5, 0.99))
    figures = {"p50_ms": passed[p50], "p99_ms": passed[p99], "max_ms": passed[-1], "cpu_p99_ms": cpu[p99]}
    return {name: round(value, 3) for name, value in figures.items()}


def spreads(figures: dict[str, Any]) -> list[dict[str, float]]:
    """Those of ours, wherever in the figures."""
    inner = [value for name, value in figures.items() if isinstance(value, dict) and name != "plain"]
    return [figures] if "p99_ms" in figures else [each for value in inner for each in spreads(value)]


if __name__ == "__main__":
    main()
