"""What routes ask for: the process's services, the caller, and the database as that caller may see it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.auth import Caller, Visits
from kinds.job_search.postings import Index
from shared.db import in_transaction
from shared.kinds import Registry
from shared.schedules import Rules, follow_org, follow_user, wake_schedules
from shared.settings import Settings
from shared.tokens import Claims
from shared.users import act_as, upsert_user
from shared.wake import Channel, Waker

T = TypeVar("T")


@dataclass(frozen=True)
class OutsideCron:
    """What the composition root lends to a host's own cron: one pass of a scheduler, and a worker for a while.

    `tick` begins nothing new after so many seconds and returns its counts. `work` claims and executes for at most so
    many seconds, fewer once the event is set, and returns how many runs it brought to their end.
    """

    tick: Callable[[AsyncConnectionPool, float], Awaitable[Mapping[str, Any]]]
    work: Callable[[float, asyncio.Event], Awaitable[int]]


@dataclass
class Services:
    """What one API process holds for all its requests."""

    settings: Settings
    url: str
    registry: Registry
    pool: AsyncConnectionPool
    waker: Waker
    visits: Visits = field(default_factory=Visits)
    index: Index = field(default_factory=Index)
    migrated: bool = False  # seen once; a database is not migrated back
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # set at SIGTERM, while open requests still go on


async def services(request: Request) -> Services:
    """The running process's services."""
    found: Services = request.app.state.services
    return found


Process = Annotated[Services, Depends(services)]


@dataclass
class UserDatabase:
    """Postgres as one user: each transaction is held to their rows by row level security, whatever its statements say.

    Routes don't get a connection but hand over their work, so that it is committed before anything is answered or
    woken, and repeated when Postgres says that this can help.
    """

    services: Services
    claims: Claims
    seen: bool

    @property
    def user_id(self) -> UUID:
        """Whose requests these are."""
        return self.claims.user_id

    async def transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in a transaction of its own and commit.

        The caller's first one also writes them down, and lets schedules go on that were dormant while they were away.
        """
        new = self.services.visits.is_new(self.claims, seen=self.seen)

        async def as_user(conn: AsyncConnection) -> tuple[T, int]:
            await act_as(conn, self.user_id)
            who = self.claims
            if new:
                await upsert_user(conn, who.user_id, org_id=who.org_id, email=who.email, zone=who.zone, seen=self.seen)
            woken = await self._welcome(conn) if new and self.seen else 0
            return await work(conn), woken

        deadline = self.services.settings.request_timeout_seconds
        result, woken = await in_transaction(self.services.pool, as_user, deadline=deadline)
        if woken:
            self.services.waker.wake(Channel.QUEUE)
        if new:
            self.services.visits.remember(self.claims, seen=self.seen)
        return result

    async def _welcome(self, conn: AsyncConnection) -> int:
        """What a person's coming changes about their schedules; returns how many runs it made."""
        services = self.services
        await follow_org(conn, services.registry, self.user_id)
        if self.claims.zone:
            await follow_user(conn, self.user_id, rules=Rules.of(services.settings))
        return await wake_schedules(conn, services.registry, self.user_id)


async def visited(process: Process, caller: Caller) -> UserDatabase:
    """The caller's database, for what a person does."""
    return UserDatabase(process, caller, seen=True)


async def polled(process: Process, caller: Caller) -> UserDatabase:
    """The caller's database, for what a page repeats by itself: it says nothing about whether somebody is there."""
    return UserDatabase(process, caller, seen=False)


Visited = Annotated[UserDatabase, Depends(visited)]
Polled = Annotated[UserDatabase, Depends(polled)]
