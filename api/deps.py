"""What routes ask for: the process's services, the caller, and the database as that caller may see it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.auth import Caller, Visits
from kinds.job_search.postings import Index
from shared.db import in_transaction
from shared.kinds import Registry
from shared.settings import Settings
from shared.tokens import Claims
from shared.users import act_as, upsert_user
from shared.wake import Waker

T = TypeVar("T")


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
        """Run `work` in a transaction of its own and commit; the caller's first one also writes them down."""
        new = self.services.visits.is_new(self.claims, seen=self.seen)

        async def as_user(conn: AsyncConnection) -> T:
            await act_as(conn, self.user_id)
            if new:
                who = self.claims
                await upsert_user(conn, who.user_id, org_id=who.org_id, email=who.email, zone=who.zone, seen=self.seen)
            return await work(conn)

        deadline = self.services.settings.request_timeout_seconds
        result = await in_transaction(self.services.pool, as_user, deadline=deadline)
        if new:
            self.services.visits.remember(self.claims, seen=self.seen)
        return result


async def visited(process: Process, caller: Caller) -> UserDatabase:
    """The caller's database, for what a person does."""
    return UserDatabase(process, caller, seen=True)


async def polled(process: Process, caller: Caller) -> UserDatabase:
    """The caller's database, for what a page repeats by itself: it says nothing about whether somebody is there."""
    return UserDatabase(process, caller, seen=False)


Visited = Annotated[UserDatabase, Depends(visited)]
Polled = Annotated[UserDatabase, Depends(polled)]
