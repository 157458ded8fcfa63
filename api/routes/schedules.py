"""Schedules: what the caller wants kept fresh, with what each last brought and when it is due next."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Visited
from shared.schedules import list_schedules

router = APIRouter(prefix="/schedules", tags=["schedules"])


class ScheduleView(BaseModel):
    """A schedule, with the newest success that did the same work, whoever asked for it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    key: str = Field(description="The user's own name for it.")
    kind: str = Field(examples=["job_search"])
    subject: str | None
    parameters: dict[str, Any]
    crons: list[str] = Field(examples=[["0 8 * * *", "45 16 * * *"]])
    zone: str = Field(description="What was asked for: `user`, or the name of a zone.")
    timetable_zone: str = Field(description="The zone that it stands for now.", examples=["Europe/London"])
    spread_seconds: int
    catch_up: str
    enabled: bool
    paused_at: datetime | None
    dormant: bool
    note: str | None
    next_slot: datetime | None = Field(description="When it is due next; null while it is paused or dormant.")
    last_run_id: UUID | None
    last_success_at: datetime | None
    headline: str | None
    found: int | None = Field(description="What the last success found, for kinds that count.")
    new: int | None
    created_at: datetime
    updated_at: datetime


class Schedules(BaseModel):
    """All of a user's schedules, by key."""

    schedules: list[ScheduleView]


@router.get("", summary="List schedules")
async def read_schedules(db: Visited) -> Schedules:
    """The caller's schedules, each with its last success and its next slot."""
    schedules = await db.transact(lambda conn: list_schedules(conn, db.user_id))
    return Schedules(schedules=[ScheduleView.model_validate(schedule) for schedule in schedules])
