"""Maintenance, a bit at a time: weeks of runs made ahead, what nobody needs removed, slots true to our tzdata."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from scheduler.ticks import TIMETABLES_AT_ONCE, recompute
from shared.cron import tzdata_version
from shared.db import fetch_all, fetch_one, in_transaction, load_sql, transaction
from shared.kinds import Registry
from shared.partitions import make_partitions
from shared.settings import Settings

log = structlog.get_logger()

PRUNES = {name: load_sql(__file__, f"prune_{name}") for name in ("workers", "ticks", "skips", "steps", "pauses")}
UNUSED = load_sql(__file__, "unused_timetables")
PRUNE_TIMETABLES = load_sql(__file__, "prune_timetables")
REST = load_sql(__file__, "rest")
SWEEP = load_sql(__file__, "sweep")
OUTLIVED = load_sql(__file__, "outlived_partitions")
NEWER_TZDATA = b"select count(*)::int as timetables from foxtrot.timetables where tzdata > %(tzdata)s"
NEEDED = "select from foxtrot.{} where expires_at is null or expires_at > now() limit 1"
DETACH = "alter table foxtrot.runs detach partition foxtrot.{} concurrently"  # as outlived_partitions.sql knows it
FINALIZE = "alter table foxtrot.runs detach partition foxtrot.{} finalize"
DROP = "drop table if exists foxtrot.{}"
# To finalize locks the week and then waits for every older snapshot, and who has one may want the week: a deadlock, of
# which either is the victim. Postgres looks for deadlocks after a second; by then we have made way.
MAKE_WAY = b"set local lock_timeout = '500ms'"

AT_ONCE = 10_000
PRUNED_TIMETABLES_AT_ONCE = 10  # when one goes, its key is looked for in every schedule
DEADLINE = 30.0  # seconds: these statements may read tables from end to end


@dataclass(frozen=True)
class Swept:
    """A stretch of runs that the sweep has passed; `last` is where the next begins, None at the end."""

    looked_at: int
    emptied: int
    last: UUID | None


@dataclass(frozen=True)
class Outlived:
    """A partition of runs that may go, and whether it is attached, detaching or detached."""

    name: str
    stage: str


@dataclass(frozen=True)
class Unused:
    """A timetable that no schedule has."""

    id: UUID


@dataclass(frozen=True)
class Left:
    """Timetables that this process leaves alone."""

    timetables: int


@dataclass(frozen=True)
class Maintenance:
    """What every scheduler does at its start and from time to time; several at once do no harm.

    It ends early, between two statements, once `stop` is set.
    """

    pool: AsyncConnectionPool
    settings: Settings
    registry: Registry
    stop: asyncio.Event
    at_once: int = AT_ONCE

    @property
    def keep(self) -> timedelta:
        """How far back slots are taken up."""
        return timedelta(days=self.settings.retention_days)

    async def tidy_once(self) -> None:
        """Compute slots of older tzdata anew, make and drop weeks of runs, and prune what only history needed."""
        recomputed = await self._recompute()
        made = await in_transaction(self.pool, lambda conn: make_partitions(conn, self.keep))
        pruned = {
            name: await self._repeat(partial(_change, statement), {"keep": self.keep}, self.at_once)
            for name, statement in PRUNES.items()
        }
        pruned["timetables"] = await self._repeat(_prune_timetables, {}, min(self.at_once, PRUNED_TIMETABLES_AT_ONCE))
        dropped = await self._drop_outlived()
        log.info("tidied", recomputed=recomputed, partitions_made=made, partitions_dropped=dropped, **pruned)
        await self._warn_of_newer_tzdata()

    async def sweep_once(self) -> int:
        """Walk through the runs and empty those that have expired; returns how many."""
        swept = Swept(looked_at=self.at_once, emptied=0, last=UUID(int=0))
        emptied = 0
        while swept.looked_at == self.at_once and not self.stop.is_set():
            values = {"after": swept.last, "at_most": self.at_once}
            swept = await in_transaction(self.pool, partial(_sweep, values), deadline=DEADLINE)
            emptied += swept.emptied
        if emptied:
            log.info("swept", runs=emptied)
        return emptied

    async def rest_once(self) -> int:
        """Let the schedules of users who have not been here for long rest; returns how many began to."""
        inactive_after = {"inactive_after": timedelta(days=self.settings.inactive_after_days)}
        resting = await self._repeat(partial(_change, REST), inactive_after, self.at_once)
        if resting:
            log.info("rested", schedules=resting)
        return resting

    async def _repeat(
        self,
        work: Callable[[Mapping[str, Any], AsyncConnection], Awaitable[int]],
        values: Mapping[str, Any],
        at_most: int,
    ) -> int:
        """Do `work`, each time with so many rows at most, until it had fewer; returns how many it had in all."""
        rows, last = 0, at_most
        while last == at_most and not self.stop.is_set():
            last = await in_transaction(self.pool, partial(work, {**values, "at_most": at_most}), deadline=DEADLINE)
            rows += last
        return rows

    async def _recompute(self) -> int:
        timetables, more = 0, True
        while more and not self.stop.is_set():
            work = partial(recompute, keep=self.keep, at_most=min(self.at_once, TIMETABLES_AT_ONCE))
            recomputed = await in_transaction(self.pool, work, deadline=DEADLINE)
            timetables, more = timetables + recomputed.timetables, recomputed.more
        return timetables

    async def _drop_outlived(self) -> list[str]:
        longest = max([self.keep, *(kind.retention.longest for kind in self.registry.kinds.values())])
        outlived = await in_transaction(self.pool, partial(_outlived, longest), deadline=DEADLINE)
        dropped = []
        for week in outlived:
            if self.stop.is_set():
                break
            try:
                if await asyncio.wait_for(self._drop(week), DEADLINE):
                    dropped.append(week.name)
            except (psycopg.Error, TimeoutError) as error:
                # A long transaction, or another scheduler at the same: the weeks that are left would meet it too.
                log.warning("partition_not_dropped", partition=week.name, error=str(error))
                break
        return dropped

    async def _drop(self, week: Outlived) -> bool:
        table = sql.Identifier(week.name)
        async with transaction(self.pool) as conn:
            needed = await conn.execute(sql.SQL(NEEDED).format(table))
        if needed.rowcount:
            return False  # a slot of that week was taken up late, or its run is still live
        if week.stage == "attached":
            await self._detach(table)
        async with transaction(self.pool) as conn:
            await conn.execute(MAKE_WAY)
            if week.stage == "detaching":  # what a crash left
                await conn.execute(sql.SQL(FINALIZE).format(table))
            await conn.execute(sql.SQL(DROP).format(table))
        return True

    async def _detach(self, table: sql.Identifier) -> None:
        """Detaching concurrently blocks no reader and no writer, but can't be part of a transaction."""
        async with self.pool.connection() as conn:
            await conn.set_autocommit(True)
            try:
                await conn.execute(sql.SQL(DETACH).format(table))
            finally:
                await conn.set_autocommit(False)

    async def _warn_of_newer_tzdata(self) -> None:
        left = await in_transaction(self.pool, _newer)
        if left:
            log.warning("tzdata_outdated", tzdata=tzdata_version(), timetables=left, hint="Update the tzdata package.")


async def _sweep(values: Mapping[str, Any], conn: AsyncConnection) -> Swept:
    swept = await fetch_one(conn, SWEEP, values, Swept)
    assert swept is not None  # noqa: S101 - an aggregate always answers
    return swept


async def _change(statement: bytes, values: Mapping[str, Any], conn: AsyncConnection) -> int:
    return (await conn.execute(statement, values)).rowcount


async def _prune_timetables(values: Mapping[str, Any], conn: AsyncConnection) -> int:
    # Two statements: the second also sees the schedules that joined while the first was waiting for its rows.
    unused = await fetch_all(conn, UNUSED, values, Unused)
    return (await conn.execute(PRUNE_TIMETABLES, {"ids": [each.id for each in unused]})).rowcount


async def _outlived(longest: timedelta, conn: AsyncConnection) -> list[Outlived]:
    return await fetch_all(conn, OUTLIVED, {"longest": longest}, Outlived)


async def _newer(conn: AsyncConnection) -> int:
    left = await fetch_one(conn, NEWER_TZDATA, {"tzdata": tzdata_version()}, Left)
    return left.timetables if left else 0
