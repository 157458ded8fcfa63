"""Finish: the outcome of an attempt is recorded at most once, by the worker that still holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from shared.db import load_sql
from shared.kinds import Status
from shared.queue.fence import Fence, Held, fence_columns, fetch_fences, in_order

FINISH = load_sql(__file__, "finish")
FINISHED = load_sql(__file__, "finished")


@dataclass
class Outcome(Held):
    """How an attempt ended: `status` is final, `result` is JSON; `error` has class, message and hint when it failed."""

    status: Status
    retention: timedelta
    headline: str | None = None
    result: str | None = None
    error: dict[str, Any] | None = None


class Recorded(StrEnum):
    """What became of an outcome."""

    RECORDED = "recorded"
    ALREADY_DONE = "already done"
    REFUSED = "refused"


async def finish(conn: AsyncConnection, worker_id: UUID, outcomes: Sequence[Outcome]) -> dict[Fence, Recorded]:
    """Record outcomes in run_id order; says for each whether it was recorded, was there already, or is refused.

    Refused are outcomes of a worker whose lease ended, of an attempt that was rescued or cancelled meanwhile, and of
    runs it never held. Repeating a call whose answer was lost is safe: it finds the attempt final.
    """
    ordered = in_order(outcomes)
    recorded = await fetch_fences(conn, FINISH, {"worker_id": worker_id, **_columns(ordered)})
    answers = dict.fromkeys(recorded, Recorded.RECORDED)
    rest = [outcome for outcome in ordered if outcome.fence not in answers]
    if rest:
        answers |= dict.fromkeys((outcome.fence for outcome in rest), Recorded.REFUSED)
        done = await fetch_fences(conn, FINISHED, _columns(rest))
        answers |= dict.fromkeys(done, Recorded.ALREADY_DONE)
    return answers


def _columns(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    return {
        **fence_columns(outcomes),
        "statuses": [outcome.status.value for outcome in outcomes],
        "headlines": [outcome.headline for outcome in outcomes],
        "results": [outcome.result for outcome in outcomes],
        "errors": [None if outcome.error is None else Jsonb(outcome.error) for outcome in outcomes],
        "retentions": [outcome.retention for outcome in outcomes],
    }
