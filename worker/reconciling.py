"""Reconciling: what the queue says this worker holds, against what it runs."""

import asyncio
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import in_statements, in_transaction
from shared.queue import Fence, held_by, leave, register, release
from worker.execution import Attempts, Ending
from worker.finishing import Flusher
from worker.leases import Me

log = structlog.get_logger()


class Reconciler:
    """Compares under `lock`, the claimer's: no claim is in flight meanwhile."""

    def __init__(
        self, pool: AsyncConnectionPool, me: Me, attempts: Attempts, flusher: Flusher, lock: asyncio.Lock
    ) -> None:
        self._pool = pool
        self._me = me
        self._attempts = attempts
        self._flusher = flusher
        self._lock = lock

    async def reconcile_once(self) -> None:
        """Release the rows that nothing here works on; drop the attempts whose rows are gone."""
        async with self._lock:
            running, known = set(self._attempts.running), self._known()
            held = await in_statements(self._pool, partial(held_by, worker_id=self._me.id))
            if unknown := held - known:
                log.info("runs_released", runs=[str(fence.run_id) for fence in unknown])
                await in_statements(self._pool, partial(release, worker_id=self._me.id, fences=list(unknown)))
        for fence in running - held:
            # An attempt that ended meanwhile is not running any more, so a finish in flight is no orphan.
            if attempt := self._attempts.running.get(fence):
                attempt.run.log.info("attempt_dropped")
                self._attempts.stop(attempt, Ending.DROPPED)

    async def start_anew(self, lost: UUID, kinds: Sequence[str], slots: int) -> None:
        """After the lease of the row `lost` has expired: drop everything, give it back, and register another row."""
        async with self._lock:
            if lost != self._me.id:
                return
            log.error("lease_lost", worker_id=str(lost), attempts=len(self._attempts.running))
            self._flusher.discard()
            self._attempts.drop_all()
            self._me.id = await in_transaction(self._pool, partial(_replace, lost=lost, kinds=kinds, slots=slots))

    def _known(self) -> set[Fence]:
        """What the queue is right to say that we hold: a dropped attempt isn't, an outcome not yet written is."""
        running = self._attempts.running
        return {fence for fence in running if running[fence].ending is not Ending.DROPPED} | set(self._flusher.pending)


async def _replace(conn: AsyncConnection, lost: UUID, kinds: Sequence[str], slots: int) -> UUID:
    await release(conn, lost, list(await held_by(conn, lost)))
    await leave(conn, lost)
    return await register(conn, kinds, slots)
