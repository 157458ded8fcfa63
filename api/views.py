"""Views: what the API shows of a run, and how long a client does well to wait before it asks again."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.kinds import Source, Status
from shared.queue import Enqueued
from shared.runs import ReadRun

LONGEST_WAIT = timedelta(seconds=30)
WAITS_PER_AGE = 5


class RunError(BaseModel):
    """How an attempt failed."""

    attempt: int
    at: datetime
    message: str = Field(examples=["The job board answered 503 three times."])
    hint: str | None = None


class RunSummary(BaseModel):
    """A run, as lists show it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: str = Field(examples=["job_search"])
    subject: str | None
    source: Source
    status: Status
    parameters: dict[str, Any]
    schedule_id: UUID | None
    scheduled_for: datetime | None = Field(description="The slot, when a schedule asked for it.")
    retry_of: UUID | None
    created_at: datetime
    available_at: datetime | None = Field(description="While live: not before then.")
    waiting: str | None = Field(description="While pending: what it waits for.", examples=["retry"])
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    attempt: int
    max_attempts: int | None
    percent: int | None
    step: str | None
    detail: str | None
    done: int | None
    total: int | None
    headline: str | None = Field(examples=["12 jobs, 3 of them new"])
    error: RunError | None = Field(description="How the latest failed attempt failed.")
    expires_at: datetime | None


class RunView(RunSummary):
    """A run, whole."""

    client_context: dict[str, Any] | None
    result: dict[str, Any] | None
    errors: list[RunError] = Field(description="One entry per failed attempt.")


class StartedRun(RunView):
    """The run that answers a request, and how it came to."""

    created: bool = Field(description="False when a live or finished run already did the same work.")
    promoted: bool = Field(description="True when that run was pending and now comes sooner.")
    reused: bool = Field(description="True when it is a finished success young enough to stand in.")
    waiting_until: datetime | None = Field(description="Until when a quota or a Retry-After holds it.")

    @classmethod
    def of(cls, run: ReadRun, enqueued: Enqueued | None) -> Self:
        """`enqueued` is None when a finished run stands in."""
        shown = RunView.model_validate(run).model_dump()
        if enqueued is None:
            return cls(**shown, created=False, promoted=False, reused=True, waiting_until=None)
        held = enqueued.available_at if enqueued.waiting else None
        return cls(**shown, created=enqueued.created, promoted=enqueued.promoted, reused=False, waiting_until=held)


class RunPage(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None = Field(description="Hand it back as `cursor` for the next page; null on the last.")


def retry_after(run: ReadRun) -> dict[str, str]:
    """The header Retry-After of a live run, 1 to 30 s: until it is due, then a fifth of the time it has run."""
    if not run.live:
        return {}
    due = run.available_at or run.created_at
    wait = due - run.read_at if due > run.read_at else (run.read_at - (run.started_at or due)) / WAITS_PER_AGE
    return {"Retry-After": str(max(1, ceil(min(wait, LONGEST_WAIT).total_seconds())))}
