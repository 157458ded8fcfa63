"""Running from a terminal: start a run, and stay to see how it goes if asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from rich.console import Console

from cli import show
from cli.database import connection
from kinds.job_search.postings import read_postings
from shared.errors import InvalidInputError
from shared.kinds import Kind, Status
from shared.queue import NewRun, enqueue, find_reusable
from shared.runs import ReadRun, find_run
from shared.users import upsert_user
from shared.wake import NOTIFY, Channel

WATCH_EVERY = 0.2

console = Console()


@dataclass(frozen=True)
class Asked:
    """A run that somebody asks for: `fresh` refuses a finished one, `keep` is done in the same transaction."""

    kind: Kind[Any, Any]
    new: NewRun
    watch: bool
    fresh: bool
    keep: Callable[[AsyncConnection], Awaitable[object]] | None = None


async def start(url: str, asked: Asked, *, notify: bool = True) -> str:
    """Start the run, or join the one that does the same; returns its status, which is final when it was watched."""
    async with connection(url) as conn:
        async with conn.transaction():
            run_id = await _settle(conn, asked)
        if notify:
            await conn.execute(NOTIFY, {"channels": [Channel.QUEUE], "payloads": [asked.kind.name]})
        if not asked.watch:
            console.print(f"run {run_id}")
            return Status.PENDING
        ended = await _watch(conn, asked.kind, run_id, asked.new.user_id)
        console.print(show.outcome(ended))
        ids = [UUID(text) for text in (ended.result or {}).get("posting_ids", [])]
        if ids:
            page = await read_postings(conn, ids, offset=0, limit=len(ids))
            console.print(show.postings(page, new=(ended.result or {}).get("new", 0)))
        return ended.status


async def _settle(conn: AsyncConnection, asked: Asked) -> UUID:
    await upsert_user(conn, asked.new.user_id)
    if asked.keep:
        await asked.keep(conn)
    reusable = None if asked.fresh else await find_reusable(conn, asked.new, asked.kind)
    if reusable:
        console.print(
            f"a result of less than {asked.kind.reuse_for.total_seconds():g} s ago will do (--fresh runs anew)"
        )
        return reusable
    enqueued = await enqueue(conn, asked.new)
    if not enqueued.created:
        console.print("joined the run that already does this")
    return enqueued.run_id


async def _watch(conn: AsyncConnection, kind: Kind[Any, Any], run_id: UUID, user_id: UUID) -> ReadRun:
    with show.progress_bar(console, kind) as follow:
        while True:
            read = await find_run(conn, run_id, user_id)
            if read is None:
                raise InvalidInputError(f"run {run_id} is gone: it has expired")
            follow(read)
            if not read.live:
                return read
            await asyncio.sleep(WATCH_EVERY)
