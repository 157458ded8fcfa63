"""Schedule views: what the API shows of a schedule and its slots, and what it takes to change one."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.schedules import USER_ZONE, CatchUp, Slot


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
    pause_note: str | None = Field(description="Why it is paused, when somebody or the scheduler itself said so.")
    dormant: bool = Field(description="True while its user has been away for long.")
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


class ScheduleChanges(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, Any] = Field(default_factory=dict, description="All of them, as for a new schedule.")
    crons: list[str] = Field(default_factory=list, examples=[["0 8 * * *", "45 16 * * *"]])
    zone: str = USER_ZONE
    spread_seconds: int = 0
    catch_up: CatchUp = CatchUp.LATEST
    enabled: bool = True
    note: str | None = None


class PauseRequest(BaseModel):
    """Why a schedule is paused."""

    model_config = ConfigDict(extra="forbid")

    note: str | None = Field(default=None, examples=["on holiday"])


class PreviewRequest(BaseModel):
    """Times to look at before they are stored."""

    model_config = ConfigDict(extra="forbid")

    crons: list[str] = Field(examples=[["0 8 * * MON-FRI", "45 16 * * *"]])
    zone: str = Field(default=USER_ZONE, description="The name of a zone, or `user` for wherever the user is.")


class BackfillRequest(BaseModel):
    """A stretch of time, without its end; both with an offset."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime = Field(examples=["2026-10-01T00:00:00+01:00"])
    end: AwareDatetime = Field(examples=["2026-10-08T00:00:00+01:00"])
    dry_run: bool = False


class BackfillView(BaseModel):
    """What a backfill came to, or what it would come to."""

    model_config = ConfigDict(from_attributes=True)

    slots: int = Field(description="How many lie in the stretch.")
    settled: int = Field(description="Of them, how many have a run, were covered by one, or are on their way.")
    runs: int = Field(description="How many runs were made; with `dry_run`, would be.")
    first: datetime | None
    last: datetime | None


class SlotView(BaseModel):
    """A slot, and what became of it."""

    scheduled_for: datetime
    local: datetime = Field(description="The same instant in the schedule's zone.")
    outcome: str = Field(description="The status of its run, `skipped`, or `due` while it is on its way into a run.")
    reason: str | None = Field(
        description="Why there is no run: `overlap`, `missed`, `paused`, `inactive` or `not_configured`."
    )
    run_id: UUID | None = Field(description="Its run, or the one that covered it; null once that has expired.")
    headline: str | None
    note: str | None = Field(description="What was said when it was paused.")


class SlotStrip(BaseModel):
    """The last slots, oldest first, and how many of each outcome or reason they are."""

    zone: str
    slots: list[SlotView]
    counts: dict[str, int] = Field(examples=[{"success": 52, "overlap": 2, "paused": 6}])

    @classmethod
    def of(cls, zone: str, slots: Sequence[Slot]) -> Self:
        """Shown in that zone."""
        place = ZoneInfo(zone)
        shown = [SlotView(**vars(slot), local=slot.scheduled_for.astimezone(place)) for slot in slots]
        return cls(zone=zone, slots=shown, counts=Counter(slot.reason or slot.outcome for slot in slots))
