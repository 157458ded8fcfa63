"""Load for benchmarks/worker.py: runs by the hundred thousand, worker processes, and the bare statements."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg

from benchmarks.figures import read
from benchmarks.processes import services
from shared.kinds import Lane

ROOT = Path(__file__).parents[1]
BATCH = 500

FILL = """
with asked as (
    select foxtrot.uuid7(now()) as id, user_id, foxtrot.bucket_of(user_id) as bucket,
        decode(md5(n::text), 'hex') as fingerprint
    from (select n, gen_random_uuid() as user_id from generate_series(1, %(runs)s) n) as of
), queued as (
    insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
    select id, bucket, user_id, %(kind)s, fingerprint, %(lane)s, now(), 3 from asked
)
insert into foxtrot.runs (id, bucket, user_id, kind, source, parameters, fingerprint)
select id, bucket, user_id, %(kind)s, %(source)s, jsonb_build_object('number', %(number)s::int), fingerprint from asked
"""
HISTORY = """
insert into foxtrot.runs (
    id, bucket, user_id, kind, source, parameters, fingerprint, status, attempt, started_at, finished_at, headline,
    result, expires_at
)
select
    foxtrot.uuid7(now() - n * interval '1 ms'), foxtrot.bucket_of(user_id), user_id, 'past', 'cron', '{"number": 7}',
    '\\x00', 'success', 1, now(), now(), 'Number 7', '{"number": 7}', now() + interval '30 days'
from (select n, gen_random_uuid() as user_id from generate_series(1, %s) n) as of
"""
BARE_CLAIM = f"""
with due as materialized (
    select run_id, bucket from foxtrot.queue
    where worker_id is null and lane = 1 and kind = 'noop' and available_at <= now()
    order by available_at, run_id limit {BATCH} for update skip locked
), claimed as (
    update foxtrot.queue q set worker_id = %s, attempt = attempt + 1, started_at = now(), updated_at = now()
    from due d where q.run_id = d.run_id and q.bucket = d.bucket
    returning q.run_id, q.bucket
)
select c.*, r.parameters from claimed c join foxtrot.runs r on r.id = c.run_id and r.bucket = c.bucket
"""
BARE_FINISH = """
with ended as (delete from foxtrot.queue where run_id = any (array(select unnest(%(ids)b::uuid[]))))
update foxtrot.runs r
set status = 'success', attempt = 1, started_at = now(), finished_at = now(), headline = 'Number 7',
    result = '{"number": 7}', expires_at = now() + interval '30 days'
from unnest(%(ids)b::uuid[], %(buckets)b::smallint[]) as o (id, bucket)
where r.id = o.id and r.bucket = o.bucket
"""
SECONDS = "select extract(epoch from max(finished_at) - min(started_at))::float8 from foxtrot.runs where kind = 'noop'"


def fill(conn: psycopg.Connection, runs: int, kind: str, lane: Lane = Lane.CRON, number: int = 7) -> None:
    """Add due runs, each of a user of its own."""
    values = {"runs": runs, "kind": kind, "lane": int(lane), "source": lane.name.lower(), "number": number}
    conn.execute(FILL.encode(), values)


def settle(conn: psycopg.Connection) -> None:
    """Do now what autovacuum and the checkpointer would do in the middle of a measurement."""
    conn.execute("vacuum analyze foxtrot.queue, foxtrot.runs")
    conn.execute("checkpoint")


@contextmanager
def workers(url: str, n: int, slots: int, *kinds: str, **settings: str) -> Iterator[list[psutil.Process]]:
    """So many `foxtrot worker`, registered."""
    command = ["worker", "--slots", str(slots), "--kinds", ",".join(kinds)]
    registered = "select count(*) from foxtrot.workers"
    with services(url, n, command, registered, FOXTROT_KINDS="benchmarks.worker_kinds", **settings) as started:
        yield started


def wait_until_done(conn: psycopg.Connection, kind: str = "noop", seconds: float = 900) -> None:
    """Looked at four times a second: the look reads the queue."""
    deadline = time.monotonic() + seconds
    while read(conn, "select exists (select from foxtrot.queue where kind = %s)", kind):
        assert time.monotonic() < deadline, f"{kind} was not done within {seconds:g} s"
        time.sleep(0.25)


async def drain_bare(url: str, *, overlapping: bool) -> float:
    """Runs a second of plain SQL that claims and finishes in batches, the next claim during a finish or after it."""
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as claiming,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as finishing,
    ):

        async def claim() -> list[Any]:
            return await (await claiming.execute(BARE_CLAIM.encode(), [uuid4()])).fetchall()

        async def finish(rows: list[Any]) -> None:
            values = {"ids": [row[0] for row in rows], "buckets": [row[1] for row in rows]}
            await finishing.execute(BARE_FINISH.encode(), values)

        begun, done = time.perf_counter(), 0
        rows = await claim()
        while rows:
            done += len(rows)
            if overlapping:
                rows, _ = await asyncio.gather(claim(), finish(rows))
            else:
                await finish(rows)
                rows = await claim()
        return done / (time.perf_counter() - begun)
