"""Many schedules: rows as their users would have put them, made due at once, and the bare inserts of their runs."""

import time
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from kinds.job_search.kind import JOB_SEARCH
from shared.cron import tzdata_version

# A rule each, all at the same instant: the second expression, of a leap day, only makes them differ.
TIMETABLES = """
insert into foxtrot.timetables (crons, zone, next_slot, tzdata)
select
    array[%(cron)s, (n %% 60) || ' ' || (n / 60 %% 24) || ' 29 2 ' || (n / 1440)], 'UTC', %(slot)s, %(tzdata)s
from generate_series(1, %(timetables)s) as n
"""
USERS = """
insert into foxtrot.users (id, bucket)
select id, foxtrot.bucket_of(id)
from (select gen_random_uuid() as id from generate_series(1, %(schedules)s)) as made
"""
SCHEDULES = """
insert into foxtrot.schedules (bucket, user_id, key, kind, parameters, fingerprint, timetable_id, zone, effective_from)
select u.bucket, u.id, 'jobs', %(kind)s, '{"query": "staff nurse", "location": "London"}', uuid_send(gen_random_uuid()),
    t.id, 'UTC', now() - interval '9 days'
from (select id, bucket, row_number() over () as n from foxtrot.users) u
join (select id, row_number() over () as n from foxtrot.timetables) t on t.n = u.n %% %(timetables)s + 1
"""
EMPTY = "truncate foxtrot.users, foxtrot.timetables, foxtrot.ticks, foxtrot.queue, foxtrot.runs, foxtrot.skips cascade"
DONE = """
select not exists (select from foxtrot.timetables where next_slot <= now())
    and not exists (select from foxtrot.ticks where finished_at is null)
"""

# The least that adds the same rows: a statement for each table, from the same schedules, a chunk a transaction.
CHUNK = "from (select * from foxtrot.schedules where id > %(after)s order by id limit %(chunk)s) as s"
INTO_QUEUE = f"""
insert into foxtrot.queue (
    run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, max_attempts, updated_at
)
select
    foxtrot.cron_run_id(id, %(slot)s), bucket, user_id, org_id, subject, kind, fingerprint, 1, %(slot)s, 3, now()
{CHUNK}
"""
INTO_RUNS = f"""
insert into foxtrot.runs (
    id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, schedule_id, scheduled_for, created_at
)
select
    foxtrot.cron_run_id(id, %(slot)s), bucket, user_id, org_id, kind, subject, 'cron', parameters, fingerprint, id,
    %(slot)s, now()
{CHUNK}
"""
LAST = f"select id {CHUNK} order by id desc limit 1"

# The same with nothing left to find or compute: the rows as they will be lie in a table of their own.
READY = """
create unlogged table ready as
select foxtrot.cron_run_id(id, %(slot)s) as run_id, *, (row_number() over (order by id) - 1) / %(chunk)s as chunk
from foxtrot.schedules;
create index on ready (chunk);
analyze ready
"""
READY_INTO_QUEUE = """
insert into foxtrot.queue (
    run_id, bucket, user_id, org_id, subject, kind, fingerprint, lane, available_at, max_attempts, updated_at
)
select run_id, bucket, user_id, org_id, subject, kind, fingerprint, 1, %(slot)s, 3, now() from ready where chunk = %(n)s
"""
READY_INTO_RUNS = """
insert into foxtrot.runs (
    id, bucket, user_id, org_id, kind, subject, source, parameters, fingerprint, schedule_id, scheduled_for, created_at
)
select run_id, bucket, user_id, org_id, kind, subject, 'cron', parameters, fingerprint, id, %(slot)s, now()
from ready where chunk = %(n)s
"""


class ManySchedules:
    """Schedules of a user each, evenly over timetables that are all due at the same instants."""

    def __init__(self, conn: psycopg.Connection, schedules: int, timetables: int) -> None:
        self.conn = conn
        self.schedules = schedules
        slot = self._read("select date_trunc('minute', now()) + interval '1 day'")
        values = {"schedules": schedules, "timetables": timetables, "slot": slot, "kind": JOB_SEARCH.name}
        conn.execute(EMPTY)
        conn.execute(USERS, values)
        conn.execute(TIMETABLES, values | {"cron": _cron(slot), "tzdata": tzdata_version()})
        conn.execute(SCHEDULES, values)
        conn.execute("vacuum analyze foxtrot.schedules, foxtrot.users, foxtrot.timetables")

    def clear(self) -> None:
        """Let nothing have run yet, and Postgres have nothing left to write."""
        self.conn.execute("truncate foxtrot.queue, foxtrot.runs, foxtrot.skips, foxtrot.ticks")
        self.conn.execute("analyze foxtrot.queue, foxtrot.runs, foxtrot.skips, foxtrot.ticks")
        self.conn.execute("checkpoint")

    def make_due(self, slot: datetime | None = None) -> datetime:
        """Have the timetables' next slot be that one, or the minute that has begun; returns it."""
        slot = slot or self._read("select date_trunc('minute', now())")
        self.conn.execute(
            "update foxtrot.timetables set crons[1] = %s, next_slot = %s, tzdata = %s",
            [_cron(slot), slot, tzdata_version()],
        )
        return slot

    def wait_until_expanded(self, seconds: float = 600) -> None:
        """Return once nothing is due and every tick is done; asks a hundred times a second, of indexes."""
        deadline = time.monotonic() + seconds
        while not self._read(DONE):
            assert time.monotonic() < deadline, f"not expanded within {seconds:g} s"
            time.sleep(0.01)

    def insert_bare(self, chunk: int) -> float:
        """Seconds that the two inserts alone take, which read the schedules themselves."""
        values: dict[str, Any] = {"slot": self._read("select date_trunc('minute', now())"), "chunk": chunk}
        after, begun = UUID(int=0), time.perf_counter()
        while (last := self._insert_chunk(values | {"after": after})) is not None:
            after = last
        return time.perf_counter() - begun

    def insert_ready(self, chunk: int) -> float:
        """Seconds that the two inserts alone take when their rows lie ready."""
        values: dict[str, Any] = {"slot": self._read("select date_trunc('minute', now())"), "chunk": chunk}
        for statement in READY.split(";"):
            self.conn.execute(statement.encode(), values if "%(" in statement else None)
        self.conn.execute("checkpoint")
        begun = time.perf_counter()
        for n in range(-(-self.schedules // chunk)):
            with self.conn.transaction():
                self.conn.execute(READY_INTO_QUEUE, values | {"n": n})
                self.conn.execute(READY_INTO_RUNS, values | {"n": n})
        seconds = time.perf_counter() - begun
        self.conn.execute("drop table ready")
        return seconds

    def _insert_chunk(self, values: dict[str, Any]) -> UUID | None:
        with self.conn.transaction():
            self.conn.execute(INTO_QUEUE.encode(), values)
            self.conn.execute(INTO_RUNS.encode(), values)
            row = self.conn.execute(LAST.encode(), values).fetchone()
        return None if row is None else UUID(str(row[0]))

    def _read(self, query: str) -> Any:
        row = self.conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def _cron(slot: datetime) -> str:
    return f"{slot.minute} {slot.hour} {slot.day} {slot.month} *"
