"""Retry: a failed attempt goes back to the queue for another, later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from shared.db import load_sql
from shared.queue.fence import Fence, Held, fence_columns, fetch_fences, in_order

RETRY = load_sql(__file__, "retry")
RETRIED = load_sql(__file__, "retried")


@dataclass
class FailedAttempt(Held):
    """An attempt that failed and may be tried again after `delay`.

    `asked_to_wait` is True when the other side said so (Retry-After): then not even Run now brings it forward.
    """

    delay: timedelta
    error: dict[str, Any]
    asked_to_wait: bool = False


async def retry(conn: AsyncConnection, worker_id: UUID, failures: Sequence[FailedAttempt]) -> set[Fence]:
    """Give the runs back for another attempt; returns those the worker still held and that have attempts left.

    Repeating a call whose answer was lost is safe: it finds the failure kept, and returns the same.
    """
    ordered = in_order(failures)
    values = {
        "worker_id": worker_id,
        **fence_columns(ordered),
        "delays": [failure.delay for failure in ordered],
        "waitings": ["quota" if failure.asked_to_wait else "retry" for failure in ordered],
        "errors": [Jsonb(failure.error) for failure in ordered],
    }
    given_back = await fetch_fences(conn, RETRY, values)
    if len(given_back) < len(failures):
        given_back |= await fetch_fences(conn, RETRIED, values)
    return given_back
