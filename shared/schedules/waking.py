"""Waking: the dormant schedules of somebody who is back go on, and what they missed is refreshed at once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql
from shared.kinds import Registry
from shared.queue import NewRun, enqueue_many

WAKE = load_sql(__file__, "wake_schedules")


@dataclass(frozen=True)
class _Woken:
    """A schedule that was dormant."""

    id: UUID
    org_id: str | None
    kind: str
    subject: str | None
    parameters: dict[str, Any]
    fingerprint: bytes
    enabled: bool


async def wake_schedules(conn: AsyncConnection, registry: Registry, user_id: UUID) -> int:
    """Let the user's dormant schedules go on from now, each with a manual run at once, in the caller's transaction.

    Returns how many runs were asked for. Paused ones stay paused.
    """
    woken = await fetch_all(conn, WAKE, {"user_id": user_id}, _Woken)
    runs = [_run(one, registry, user_id) for one in woken if one.enabled and one.kind in registry.kinds]
    if runs:
        await enqueue_many(conn, runs)
    return len(runs)


def _run(woken: _Woken, registry: Registry, user_id: UUID) -> NewRun:
    return NewRun(
        kind=woken.kind,
        user_id=user_id,
        org_id=woken.org_id,
        subject=woken.subject,
        parameters=woken.parameters,
        fingerprint=woken.fingerprint,
        max_attempts=registry.get(woken.kind).retry.attempts,
        schedule_id=woken.id,
    )
