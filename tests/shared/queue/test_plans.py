"""Plans: what a statement reads must not grow with the queue or the history, whatever the statistics say of them.

Two plans are kept: that of enqueueing one run and, on a worker's connection for it, that of the claim. All else is
planned at each call; but on the statistics of an empty table until autovacuum comes.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from psycopg import AsyncConnection, AsyncCursor

from shared.db import connect_arguments
from shared.kinds import Progress
from shared.models import Timetable, Worker
from shared.queue import Said, enqueue_many, finish, progress, rescue, retry
from tests.shared.queue.support import asked, ended, failed, take, unfold
from tests.support import connect, make_run, make_tick, make_timetable, make_user, make_worker

BATCH = 200
CHUNK = 2000
DEAD = 60
FOR_EVER = datetime.max.replace(tzinfo=UTC)
SIZES = {"Expand": CHUNK, "Rescue": DEAD}
# For each row of a batch: no join of all with all, and a handful of indexes, three levels each, read and written.
SEEN = 20
TOUCHED = 50
PARTITIONS = "select inhrelid::regclass::text from pg_inherits where inhparent = 'foxtrot.runs'::regclass"
PENDING = """
with asked as (
    select
        foxtrot.uuid7(now() - n * interval '1 ms') as id, user_id, foxtrot.bucket_of(user_id) as bucket,
        now() - n * interval '1 ms' as due, decode(md5(n::text), 'hex') as fingerprint
    from (select n, gen_random_uuid() as user_id from generate_series(1, %(rows)s) n) as of
), queued as (
    insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
    select id, bucket, user_id, 'demo', fingerprint, 1, due, 3 from asked
)
insert into foxtrot.runs (id, bucket, user_id, kind, source, parameters, fingerprint)
select id, bucket, user_id, 'demo', 'cron', '{}', fingerprint from asked
"""
HISTORY = """
insert into foxtrot.runs (
    id, bucket, user_id, kind, source, parameters, fingerprint, status, finished_at, result, expires_at
)
select
    foxtrot.uuid7(now() - n * interval '1 ms'), foxtrot.bucket_of(user_id), user_id, 'demo', 'cron', '{}', '\\x00',
    'success', now(), '{"found": 12}', now() + interval '30 days'
from (select n, gen_random_uuid() as user_id from generate_series(1, %(rows)s) n) as of
"""
SCHEDULES = """
with made as (
    insert into foxtrot.users (id, bucket)
    select id, foxtrot.bucket_of(id) from (select gen_random_uuid() as id from generate_series(1, %(rows)s)) as of
    returning id, bucket
)
insert into foxtrot.schedules (bucket, user_id, key, kind, parameters, fingerprint, timetable_id, zone, effective_from)
select bucket, id, 'k', 'demo', '{}', uuid_send(id), %(timetable)s, 'UTC', now() - interval '9 days' from made
"""
ROWS_READ = """
select sum(seq_tup_read)::int, sum(coalesce(idx_tup_fetch, 0))::int
from pg_stat_xact_user_tables
where schemaname = 'foxtrot' and (relname = 'queue' or relname like 'runs%')
"""
CLAIM_PLANS = "select generic_plans, custom_plans from pg_prepared_statements where statement like '-- Claim:%'"
FAR_WEEK = """
select foxtrot.uuid7(now() + interval '20 weeks'), foxtrot.make_run_partition(now() + interval '20 weeks')
"""
ABANDON = """
with lost as (select run_id, gen_random_uuid() as holder from foxtrot.queue order by run_id limit %s)
update foxtrot.queue q
set worker_id = holder, rescues = case when q.run_id::text < '8' then 2 else 0 end
from lost where q.run_id = lost.run_id
"""


@dataclass
class Plan:
    """What a statement did: the tables it read, and from end to end, the rows a node saw, the buffers it touched."""

    statement: str
    read: set[str]
    scanned: set[str]
    rows: float
    buffers: int


class ExplainingCursor(AsyncCursor[Any]):
    """Runs each statement of a verb twice: explained and undone, then as it was meant."""

    plans: ClassVar[list[Plan]] = []

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "ExplainingCursor":
        if isinstance(query, bytes) and query.startswith(b"-- "):
            await super().execute("savepoint before")
            await super().execute(b"explain (analyze, buffers, format json) " + query, params)
            assert self.pgresult is not None
            (explained,) = json.loads(self.pgresult.get_value(0, 0) or b"")
            self.plans.append(_plan(query.decode()[3:].split(":")[0], explained["Plan"]))
            await super().execute("rollback to savepoint before")
        return await super().execute(query, params, **options)


def _plan(statement: str, top: dict[str, Any]) -> Plan:
    scans = [node for node in _nodes(top) if "Scan" in node["Node Type"] and "Relation Name" in node]
    read = {node["Relation Name"] for node in scans}
    scanned = {node["Relation Name"] for node in scans if "Seq Scan" in node["Node Type"] and _rows(node) > BATCH}
    buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return Plan(statement, read, scanned, max(map(_rows, _nodes(top))), buffers)


def _rows(node: dict[str, Any]) -> float:
    seen = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
    return float(sum(node.get(rows, 0) for rows in seen) * node["Actual Loops"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


async def plans_of_the_verbs(conn: AsyncConnection, worker: Worker, timetable: Timetable) -> dict[str, Plan]:
    """Run each verb on a batch, undo it all, and return the plan of each statement."""
    ExplainingCursor.plans.clear()
    claimed = await take(conn, worker, {"demo": BATCH, "other": BATCH}, free=BATCH)
    assert len(claimed) == BATCH
    said = [Said(row.run_id, row.bucket, row.attempt, Progress(percent=5)) for row in claimed]
    assert len(await progress(conn, worker.id, said)) == BATCH
    half = BATCH // 2
    assert len(await retry(conn, worker.id, [failed(row) for row in claimed[:half]])) == half
    answers = await finish(conn, worker.id, [ended(row, result='{"found": 3}') for row in claimed[half:]])
    assert len(answers) == half
    await conn.execute(ABANDON.encode(), [DEAD])
    rescued = await rescue(conn)
    assert rescued.given_back + rescued.failed == DEAD
    for _ in range(2):  # the second chunk finds the runs of the first under the same slot
        assert (await unfold(conn, timetable, CHUNK)).runs == CHUNK
    user = await make_user(conn)
    for _ in range(2):  # the second time every run is there
        await enqueue_many(conn, [asked(user, str(n)) for n in range(BATCH)])
    await conn.rollback()
    return {plan.statement: plan for plan in ExplainingCursor.plans}


def check(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        rows = SIZES.get(plan.statement, BATCH)
        assert not plan.scanned, f"{plan.statement} reads {plan.scanned} from end to end"
        assert plan.rows < SEEN * rows, f"{plan.statement} sees {plan.rows} rows to settle {rows}"
        assert plan.buffers < TOUCHED * rows, f"{plan.statement} touches {plan.buffers} buffers for {rows} rows"


async def prepare(conn: AsyncConnection) -> tuple[Worker, Timetable]:
    """Statistics of empty tables that nobody will refresh; the verbs' first plans are made on them."""
    tables = await (await conn.execute(PARTITIONS)).fetchall()
    for (table,) in [("foxtrot.queue",), ("foxtrot.schedules",), ("foxtrot.skips",), *tables]:
        await conn.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
    await conn.execute("analyze")
    worker = await make_worker(conn, lease_expires_at=FOR_EVER)
    timetable = await make_timetable(conn, next_slot=datetime.now(UTC) - timedelta(minutes=1))
    await make_tick(conn, timetable)
    assert await take(conn, worker) == []
    return worker, timetable


async def walk(url: str, *, pending: int, history: int) -> None:
    async with await AsyncConnection.connect(url, prepare_threshold=None, cursor_factory=ExplainingCursor) as conn:
        worker, timetable = await prepare(conn)
        await conn.execute(PENDING.encode(), {"rows": pending})
        await conn.execute(HISTORY.encode(), {"rows": history})
        await conn.execute(SCHEDULES.encode(), {"rows": pending // 10, "timetable": timetable.id})
        await conn.commit()
        check(await plans_of_the_verbs(conn, worker, timetable))
        await conn.execute("analyze")
        await conn.commit()
        check(await plans_of_the_verbs(conn, worker, timetable))


def test_the_plan_that_is_kept_reads_no_table(database_url: str) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(database_url, cursor_factory=ExplainingCursor) as conn:
            user = await make_user(conn)
            ExplainingCursor.plans.clear()
            await enqueue_many(conn, [asked(user)])
            (plan,) = ExplainingCursor.plans
            assert (plan.statement, plan.read) == ("Enqueue", set())
            for n in range(2):
                await enqueue_many(conn, [asked(user, f"{n}a"), asked(user, f"{n}b")])
                await enqueue_many(conn, [asked(user, f"{n}c")])
            kept = await conn.execute("select generic_plans + custom_plans from pg_prepared_statements")
            assert await kept.fetchall() == [(3,)]

    asyncio.run(main())


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
def test_the_claim_that_a_worker_planned_on_an_empty_queue_takes_a_herd_by_index(
    database_url: str, analyzed: bool
) -> None:
    async def main() -> None:
        arguments = connect_arguments("test", planned_once=True)
        async with connect(database_url) as conn, await AsyncConnection.connect(database_url, **arguments) as claiming:
            worker = (await prepare(conn))[0] if analyzed else await make_worker(conn, lease_expires_at=FOR_EVER)
            await conn.commit()
            assert await take(claiming, worker) == []
            await conn.execute(PENDING.encode(), {"rows": 20_000})
            await conn.execute(HISTORY.encode(), {"rows": 20_000})
            await conn.commit()
            await claiming.commit()
            assert len(await take(claiming, worker, {"demo": BATCH, "other": BATCH}, free=BATCH)) == BATCH
            ((scanned, fetched),) = await (await claiming.execute(ROWS_READ)).fetchall()
            assert scanned == 0
            assert fetched < SEEN * BATCH
            assert await (await claiming.execute(CLAIM_PLANS)).fetchall() == [(2, 0)]

    asyncio.run(main())


def test_a_claim_whose_plan_is_kept_knows_weeks_that_come_and_go(database_url: str) -> None:
    async def main() -> None:
        arguments = connect_arguments("test", planned_once=True)
        claiming = await AsyncConnection.connect(database_url, autocommit=True, **arguments)
        async with claiming, connect(database_url) as conn:
            worker, user = await make_worker(conn, lease_expires_at=FOR_EVER), await make_user(conn)
            first = await make_run(conn, user)
            await conn.commit()
            assert [row.run_id for row in await take(claiming, worker)] == [first.id]
            ((later, _),) = await (await conn.execute(FAR_WEEK)).fetchall()
            await conn.execute("delete from foxtrot.queue")
            await conn.execute(f"drop table {await week_of(conn, first.id)}".encode())
            await make_run(conn, user, id=later)
            await conn.commit()
            assert [row.run_id for row in await take(claiming, worker)] == [later]

    asyncio.run(main())


async def week_of(conn: AsyncConnection, run_id: UUID) -> str:
    cursor = await conn.execute("select tableoid::regclass::text from foxtrot.runs where id = %s", [run_id])
    ((table,),) = await cursor.fetchall()
    return str(table)


def test_plans_made_on_an_empty_queue_hold_for_the_herd(database_url: str) -> None:
    asyncio.run(walk(database_url, pending=80_000, history=20_000))


@pytest.mark.slow
def test_plans_hold_for_a_million_pending_and_a_million_of_history(database_url: str) -> None:
    asyncio.run(walk(database_url, pending=1_000_000, history=1_000_000))
