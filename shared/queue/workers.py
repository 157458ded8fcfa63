"""A worker's own row: register, renew its lease, say that it stops, leave."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, fetch_one, load_sql
from shared.settings import LEASE

REGISTER = load_sql(__file__, "register")
LIST = load_sql(__file__, "list_workers")
RENEW = load_sql(__file__, "renew")
STOPPING = b"update foxtrot.workers set stopping = true where id = %(worker_id)s"
LEAVE = b"delete from foxtrot.workers where id = %(worker_id)s"


@dataclass(frozen=True)
class WorkerId:
    """A worker's id: new at every start, so that an old process can never be taken for a new one."""

    id: UUID


async def register(conn: AsyncConnection, kinds: Sequence[str], slots: int) -> UUID:
    """Insert this process's row with a fresh lease; returns its id."""
    values = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": version("foxtrot"),
        "kinds": list(kinds),
        "slots": slots,
        "lease": LEASE,
    }
    row = await fetch_one(conn, REGISTER, values, WorkerId)
    assert row is not None  # noqa: S101 - an insert returns its row
    return row.id


async def renew(conn: AsyncConnection, worker_id: UUID) -> bool:
    """Extend the lease; False when it had expired: the worker must then drop everything and register anew."""
    return await fetch_one(conn, RENEW, {"worker_id": worker_id, "lease": LEASE}, WorkerId) is not None


async def mark_stopping(conn: AsyncConnection, worker_id: UUID) -> None:
    """From here on this worker claims nothing; its lease goes on until its work is done."""
    await conn.execute(STOPPING, {"worker_id": worker_id})


async def leave(conn: AsyncConnection, worker_id: UUID) -> None:
    """Remove the row of a worker that holds nothing any more."""
    await conn.execute(LEAVE, {"worker_id": worker_id})


@dataclass(frozen=True)
class ReadWorker:
    """A worker as an operator sees it: `state` is `working`, `stopping` or `lost`, `held` how many runs it has."""

    id: UUID
    host: str
    pid: int
    version: str
    kinds: list[str]
    slots: int
    started_at: datetime
    lease_expires_at: datetime
    state: str
    held: int


async def list_workers(conn: AsyncConnection) -> list[ReadWorker]:
    """All workers that have a row, the oldest first; those that died are kept for a day."""
    return await fetch_all(conn, LIST, {}, ReadWorker)
