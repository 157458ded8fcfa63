"""Schedulers that are killed while slots come due: real processes on one database, and what must hold afterwards."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from shared.cron import tzdata_version
from tests.clock import Clock
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
BEGIN = datetime(2031, 6, 2, 8, tzinfo=UTC)
EVERY = timedelta(minutes=5)
PATIENCE = 120  # seconds for what is due at one instant

# One rule in many zones: as many timetables that are due at the same instants.
ZONES = (
    "Europe/London", "Europe/Lisbon", "America/New_York", "America/Toronto", "Asia/Tokyo", "Asia/Seoul",
    "Asia/Kolkata", "Europe/Berlin", "Europe/Madrid", "Asia/Singapore", "America/Sao_Paulo", "Australia/Adelaide",
    "Africa/Cairo", "Africa/Lagos", "America/Chicago", "America/Denver", "Asia/Dubai", "Asia/Kathmandu",
    "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip

# Two schedules of each user do the same work by different timetables: schedulers meet at their place in the queue.
FILL = """
with timetable as (
    insert into foxtrot.timetables (crons, zone, next_slot, tzdata)
    select '{*/5 * * * *}', zone, %(first)s, %(tzdata)s
    from unnest(%(zones)s::text[]) as zone
    returning id
), numbered as (
    select id, row_number() over (order by id) - 1 as number from timetable
), made as (
    insert into foxtrot.users (id, bucket)
    select id, foxtrot.bucket_of(id)
    from (select gen_random_uuid() as id from generate_series(1, %(users)s)) as of
    returning id, bucket
), owner as (
    select id, bucket, row_number() over (order by id) - 1 as number from made
)
insert into foxtrot.schedules (
    bucket, user_id, key, kind, parameters, fingerprint, timetable_id, zone, catch_up, effective_from
)
select
    o.bucket, o.id, w.number::text, 'job_search', '{}', uuid_send(o.id), t.id, 'UTC', 'all',
    %(first)s - interval '1 day'
from owner o
cross join generate_series(0, 1) as w (number)
join numbered t on t.number = (2 * o.number + w.number) %% %(timetables)s
"""
ENDED = """
with ended as (delete from foxtrot.queue where random() < 0.5 returning run_id)
update foxtrot.runs set status = 'success', finished_at = now(), result = '{}', expires_at = now() + interval '30 days'
from ended where id = run_id
"""
CONNECTED = """
select count(*) from pg_stat_activity where datname = current_database() and application_name = 'foxtrot-scheduler'
"""
SETTLED = "select (select count(*) from foxtrot.runs) + (select count(*) from foxtrot.skips)"
UNFINISHED = """
select exists (select from foxtrot.ticks where finished_at is null)
    or exists (select from foxtrot.timetables where next_slot <= now())
"""
WRONG = """
with settled as (
    select schedule_id, scheduled_for, count(*) as times
    from (
        select schedule_id, scheduled_for from foxtrot.runs
        union all
        select schedule_id, scheduled_for from foxtrot.skips
    ) as either
    group by schedule_id, scheduled_for
)
select
    (select count(*) from foxtrot.schedules cross join unnest(%(slots)s::timestamptz[]) as s (slot)
        left join settled on schedule_id = id and scheduled_for = slot where times is null)::int as settled_by_neither,
    (select count(*) from settled where times > 1)::int as settled_more_than_once,
    (select count(*) from settled where scheduled_for <> all(%(slots)s::timestamptz[]))::int as of_no_slot,
    (select count(*) - count(distinct (schedule_id, scheduled_for)) from foxtrot.runs)::int as run_twice,
    (select deadlocks from pg_stat_database where datname = current_database())::int as deadlocks
"""


@dataclass
class Chaos:
    """So many schedules come due round after round while schedulers are killed, at moments that `seed` chooses."""

    clock: Clock
    seed: int
    schedules: int
    rounds: int
    kills: int
    schedulers: int = 5
    chunk: int = 50
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Go through it all, and return what came of it: counts, and how often something was wrong."""
        chance = random.Random(self.seed)
        self._fill()
        begun = time.monotonic()
        with self._started():
            for number in range(self.rounds):
                self._round(number, chance)
            exits = self._stop()
        counts = self._read("select (select count(*) from foxtrot.runs), (select count(*) from foxtrot.skips)")
        return {
            "seed": self.seed,
            "schedules": self.schedules,
            "slots": self.rounds,
            "kills": self.rounds * self.kills,
            "runs": counts[0],
            "skips": counts[1],
            "ticks": self._one("select count(*) from foxtrot.ticks"),
            "seconds": round(time.monotonic() - begun, 1),
            "wrong": self._wrong() | {"ended_by_themselves": len(set(exits) - {0, -signal.SIGTERM})},
        }

    def _fill(self) -> None:
        self.clock.freeze(BEGIN)
        values = {"zones": list(ZONES), "timetables": len(ZONES), "tzdata": tzdata_version(), "first": BEGIN + EVERY}
        with psycopg.connect(self.clock.url) as conn:
            conn.execute(FILL, values | {"users": self.schedules // 2})
            conn.execute("analyze")

    def _round(self, number: int, chance: random.Random) -> None:
        """Let a slot of all schedules come and kill schedulers when so many of them are settled."""
        before = number * self.schedules
        self.clock.advance(EVERY)
        for moment in sorted(chance.randrange(self.schedules) for _ in range(self.kills)):
            wait_until(lambda: self._one(SETTLED) >= before + moment, within=PATIENCE)  # noqa: B023 - waited for here
            self._kill(chance.randrange(self.schedulers))
        wait_until(lambda: not self._one(UNFINISHED), within=PATIENCE)
        with psycopg.connect(self.clock.url) as conn:
            conn.execute(ENDED)

    @contextmanager
    def _started(self) -> Iterator[None]:
        self.processes = [self._start() for _ in range(self.schedulers)]
        try:
            wait_until(lambda: self._one(CONNECTED) >= self.schedulers, within=PATIENCE)
            yield
        finally:
            for process in self.processes:
                process.kill()
                process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        ours = {
            "DATABASE_URL": self.clock.url,
            "PYTHONPATH": str(ROOT),
            "SCHEDULER_INTERVAL_SECONDS": "0.1",
            "EXPAND_CHUNK": str(self.chunk),
            "LOG_LEVEL": "CRITICAL",
        }
        return subprocess.Popen([sys.executable, "-m", "cli", "scheduler"], env=kept | ours)

    def _kill(self, place: int) -> None:
        """Kill -9 the scheduler of that place and start another one."""
        self.processes[place].kill()
        self.processes[place].wait()
        self.processes[place] = self._start()

    def _stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [process.wait(60) for process in self.processes]

    def _wrong(self) -> dict[str, int]:
        slots = [BEGIN + EVERY * (number + 1) for number in range(self.rounds)]
        with psycopg.connect(self.clock.url) as conn:
            cursor = conn.execute(WRONG, {"slots": slots})
            assert cursor.description is not None
            (row,) = cursor.fetchall()
            return {column.name: int(count) for column, count in zip(cursor.description, row, strict=True)}

    def _read(self, query: LiteralString) -> tuple[Any, ...]:
        with psycopg.connect(self.clock.url) as conn:
            (row,) = conn.execute(query).fetchall()
            return tuple(row)

    def _one(self, query: LiteralString) -> Any:
        return self._read(query)[0]
