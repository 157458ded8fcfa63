"""Claiming: free slots become attempts, manual before cron, cron neither starved nor in the way."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from shared.db import in_statements, in_transaction
from shared.errors import DatabaseError
from shared.kinds import Lane
from shared.queue import Claimed, Watermark, claim
from worker.execution import Attempts
from worker.finishing import Flusher
from worker.leases import Me

log = structlog.get_logger()

PAUSE = 0.01
MOST = 500  # at a time: Postgres claims the next while handlers work on these
MARKS_LAST = 1.0
LIMITED_POLL = 1.0
SUSPICIOUS = 2


class Shares:
    """How a worker's slots are shared between the manual lane and the others (docs/architecture.md).

    Cron and backfill together hold at most what `reserve` leaves. Each slot given to manual while cron was left
    waiting earns cron `rate` credit, up to a tenth of the slots; a whole credit goes before the next manual run.
    """

    def __init__(self, slots: int, *, reserve: float, rate: float) -> None:
        self.slots = slots
        self.reserve = min(max(1, round(slots * reserve)), slots - 1)
        self.credit = 0.0
        self._rate = rate
        self._most = max(1.0, slots / 10)

    def cron_cap(self, cron_held: int) -> int:
        """How many more runs of cron and backfill may be held."""
        return max(0, self.slots - self.reserve - cron_held)

    @property
    def cron_floor(self) -> int:
        """How many runs of cron and backfill go before manual ones, if so many are due."""
        return int(self.credit)

    def settle(self, manual: int, cron: int, *, cron_waits: bool) -> None:
        """Take up what a claim gave to each side, and whether it may have left cron runs waiting."""
        if not cron_waits:
            self.credit = 0.0
            return
        spent = min(cron, self.cron_floor)
        self.credit = min(self.credit - spent + manual * self._rate, self._most)


class Watermarks:
    """Where the last claim of a lane and kind stopped, so that the next need not step over the same dead rows again.

    Only while claims come back full, and for a second: a row committed late behind a mark waits no longer. The manual
    lane has none: live limits keep it short, and a row just behind its mark is what must not wait.
    """

    def __init__(self) -> None:
        self._marks: dict[tuple[Lane, str], Watermark] = {}
        self._since = 0.0

    def current(self, now: float) -> Mapping[tuple[Lane, str], Watermark]:
        """The marks at loop time `now`."""
        if now - self._since >= MARKS_LAST:
            self._marks.clear()
        return self._marks

    def advance(self, claimed: Sequence[Claimed], now: float) -> None:
        """Move the marks to the last rows of a claim, which are in order within their lane."""
        if not self._marks:
            self._since = now
        last = {(row.lane, row.kind): row for row in claimed if row.lane != Lane.MANUAL}
        for (lane, kind), row in last.items():
            self._marks[Lane(lane), kind] = (row.available_at, row.run_id)

    def drop(self, kind: str = "") -> bool:
        """Drop the marks of a kind, or all of them; returns whether there were any."""
        dropped = [key for key in self._marks if kind in {"", key[1]}]
        for key in dropped:
            del self._marks[key]
        return bool(dropped)


class Claimer:
    """Claims up to the free slots, never more; `lock` is held while a claim is in flight.

    `pool` is for claims alone: their plan is made once, by indexes, which is not right for other statements.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        me: Me,
        kinds: Sequence[str],
        running_limits: Mapping[str, int],
        shares: Shares,
        attempts: Attempts,
        flusher: Flusher,
    ) -> None:
        self.lock = asyncio.Lock()
        self.marks = Watermarks()
        self.pool = pool
        self._me = me
        self._kinds = kinds
        self._running_limits = running_limits
        self._shares = shares
        self._attempts = attempts
        self._flusher = flusher
        self._woken = asyncio.Event()
        self._backlog = False
        self._held_back = False
        self._claimed_at = 0.0

    def wake(self, kind: str = "") -> None:
        """Runs of a kind became available, or of any."""
        if kind in {"", *self._kinds}:
            self.marks.drop(kind)
            self._woken.set()

    def slot_freed(self) -> None:
        """A slot became free."""
        self._woken.set()

    def outcomes_written(self) -> None:
        """Outcomes made room; that is news only to a claim that waited for it."""
        if self._held_back:
            self._woken.set()

    async def run(self, poll: float, pause: float = PAUSE) -> None:
        """Claim on wake-ups, when a slot becomes free, and every `poll` seconds, until cancelled.

        With kinds that have a running limit at least every second: no wake-up says that another worker's run ended.

        Claims are `pause` seconds apart: a few free slots wait for company, and a burst of wake-ups is one claim. But
        with runs left waiting and half of the slots free, or when a claim stopped at `MOST`, the next is made at once.
        """
        poll = min(poll, LIMITED_POLL) if self._running_limits else poll
        while True:
            self._woken.clear()
            try:
                if await self.claim_once() == MOST:
                    continue
            except (psycopg.Error, DatabaseError) as error:
                log.warning("claim_failed", error=str(error))
                await asyncio.sleep(random.uniform(0.1, 1))  # noqa: S311 - jitter
            with suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await self._woken.wait()
            if not self._backlog or 2 * self._free() < self._shares.slots:
                await asyncio.sleep(self._claimed_at + pause - asyncio.get_running_loop().time())

    async def claim_once(self) -> int:
        """Claim once for the slots that are free, if any are, and start what was claimed; returns how many."""
        async with self.lock:
            free = min(self._free(), MOST)
            self._held_back = free <= 0 and len(self._attempts.running) < self._shares.slots
            if free <= 0:
                return 0
            claimed = await self._claim(free)
            for row in claimed:
                self._attempts.start(self._me.id, row)
            if any(row.rescues >= SUSPICIOUS for row in claimed):
                self._woken.set()  # it may have come instead of others, which the next claim sees
            return len(claimed)

    def _free(self) -> int:
        running = len(self._attempts.running)
        # Outcomes that Postgres doesn't take must not pile up: they may fill as many places again.
        return min(self._shares.slots - running, 2 * self._shares.slots - running - len(self._flusher.pending))

    async def _claim(self, free: int) -> list[Claimed]:
        now = self._claimed_at = asyncio.get_running_loop().time()
        held = [attempt.claimed for attempt in self._attempts.running.values()]
        cron_cap = self._shares.cron_cap(sum(row.lane != Lane.MANUAL for row in held))
        work = partial(
            claim,
            worker_id=self._me.id,
            kinds=dict.fromkeys(self._kinds, free),
            free=free,
            cron_cap=cron_cap,
            cron_floor=self._shares.cron_floor,
            suspects=0 if any(row.rescues >= SUSPICIOUS for row in held) else 1,
            watermarks=self.marks.current(now),
            running_limits=self._running_limits,
        )
        # A running limit is counted under a lock, which lasts as long as its transaction.
        claimed = await (in_transaction if self._running_limits else in_statements)(self.pool, work)
        self._learn(claimed, free, cron_cap, now)
        return claimed

    def _learn(self, claimed: Sequence[Claimed], free: int, cron_cap: int, now: float) -> None:
        cron = sum(row.lane != Lane.MANUAL for row in claimed)
        self._backlog = len(claimed) == free or 0 < cron == cron_cap
        self._shares.settle(len(claimed) - cron, cron, cron_waits=self._backlog)
        if self._backlog:
            self.marks.advance(claimed, now)
        elif self.marks.drop():
            self._woken.set()  # the rows behind the marks have not been looked at
