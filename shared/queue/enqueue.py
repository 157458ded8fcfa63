"""Enqueue: a request becomes a run, or finds the live run that already does the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row
from pydantic import BaseModel
from pydantic_core import to_json

from shared.db import fetch_one, load_sql
from shared.fingerprint import fingerprint
from shared.kinds import Kind, Lane, Source

ENQUEUE = load_sql(__file__, "enqueue")
REUSABLE = load_sql(__file__, "reusable")


@dataclass(frozen=True)
class NewRun:
    """What is asked for: made with `NewRun.of`, so that subject, fingerprint and attempts come from the kind."""

    kind: str
    user_id: UUID
    org_id: str | None
    subject: str | None
    parameters: dict[str, Any]
    fingerprint: bytes
    max_attempts: int
    source: Source = Source.MANUAL
    lane: Lane = Lane.MANUAL
    client_context: dict[str, Any] | None = None
    schedule_id: UUID | None = None
    retry_of: UUID | None = None
    available_at: datetime | None = None

    @property
    def key(self) -> tuple[UUID, bytes]:
        """Equal for requests of the same work by the same user."""
        return self.user_id, self.fingerprint

    @classmethod
    def of(
        cls,
        kind: Kind[Any, Any],
        parameters: BaseModel,
        *,
        user_id: UUID,
        org_id: str | None = None,
        subject: str | None = None,
        client_context: dict[str, Any] | None = None,
        schedule_id: UUID | None = None,
        retry_of: UUID | None = None,
        available_at: datetime | None = None,
    ) -> Self:
        """A manual run of `kind`; `available_at` (aware) asks for one run at that time.

        Raises `InvalidInputError` when the kind can't serve these parameters.
        """
        kind.check(parameters)
        return cls(
            kind=kind.name,
            user_id=user_id,
            org_id=org_id,
            subject=subject or kind.subject(parameters),
            parameters=parameters.model_dump(mode="json", exclude_defaults=True),
            fingerprint=fingerprint(kind.name, org_id, parameters),
            max_attempts=kind.retry.attempts,
            client_context=client_context,
            schedule_id=schedule_id,
            retry_of=retry_of,
            available_at=available_at,
        )


class Enqueued(NamedTuple):
    """What became of a request. Read the run itself from `run_status` in a statement of its own.

    `created` is False when a live run already did the same work; `promoted` when that run now comes sooner;
    `waiting` says why the run is held until `available_at`, if it is.
    """

    run_id: UUID
    created: bool
    promoted: bool
    waiting: str | None
    available_at: datetime


async def enqueue(conn: AsyncConnection, run: NewRun) -> Enqueued:
    """Enqueue one run in the caller's transaction; `wake()` after its commit."""
    return (await enqueue_many(conn, [run]))[0]


async def enqueue_many(conn: AsyncConnection, runs: Sequence[NewRun]) -> list[Enqueued]:
    """Enqueue many in one statement; the answers are in the order of `runs`, equal ones share a run.

    Only the first of several equal requests can be the one that created it.
    """
    if len({run.key for run in runs}) == len(runs):
        return await _enqueue_different(conn, runs)
    firsts = {run.key: run for run in reversed(runs)}
    answers = await _enqueue_different(conn, list(firsts.values()))
    return _shared(runs, dict(zip(firsts, answers, strict=True)))


async def _enqueue_different(conn: AsyncConnection, runs: Sequence[NewRun]) -> list[Enqueued]:
    async with conn.cursor(row_factory=args_row(Enqueued)) as cursor:  # by position: half the time of `fetch_all`
        # It reads no table, so a plan may be kept: a third of what one run costs. For many, it depends on how many.
        await cursor.execute(ENQUEUE, _columns(runs), prepare=len(runs) == 1)
        return await cursor.fetchall()


def _shared(runs: Sequence[NewRun], answers: dict[tuple[UUID, bytes], Enqueued]) -> list[Enqueued]:
    """An answer for each of `runs`, of which equal ones share one."""
    shared = []
    for run in runs:
        shared.append(answers[run.key])
        answers[run.key] = answers[run.key]._replace(created=False)
    return shared


def _columns(runs: Sequence[NewRun]) -> dict[str, list[Any] | None]:
    """By name; without what no run has: `unnest` fills that with nulls, which as an array cost as much as values."""
    columns: dict[str, list[Any]] = {
        "user_ids": [run.user_id for run in runs],
        "org_ids": [run.org_id for run in runs],
        "kinds": [run.kind for run in runs],
        "subjects": [run.subject for run in runs],
        "sources": [str(run.source) for run in runs],
        "lanes": [int(run.lane) for run in runs],
        "parameters": [to_json(run.parameters).decode() for run in runs],
        "fingerprints": [run.fingerprint for run in runs],
        "client_contexts": [
            None if run.client_context is None else to_json(run.client_context).decode() for run in runs
        ],
        "schedule_ids": [run.schedule_id for run in runs],
        "retries_of": [run.retry_of for run in runs],
        "available_at": [run.available_at for run in runs],
        "max_attempts": [run.max_attempts for run in runs],
    }
    return {name: None if column.count(None) == len(column) else column for name, column in columns.items()}


@dataclass(frozen=True)
class Reusable:
    """A finished success that can stand in for a new run."""

    run_id: UUID


async def find_reusable(conn: AsyncConnection, run: NewRun, kind: Kind[Any, Any]) -> UUID | None:
    """The caller's newest success of the same work that is younger than the kind's `reuse_for`, if there is one."""
    if not kind.reuse_for:
        return None
    values = {"user_id": run.user_id, "fingerprint": run.fingerprint, "reuse_for": kind.reuse_for}
    row = await fetch_one(conn, REUSABLE, values, Reusable)
    return row.run_id if row else None
