"""The tables of schema foxtrot as SQLModel classes: rows for psycopg's `class_row`, and what Alembic compares with.

A table class takes what the driver gives and validates nothing; a column that was not selected reads as None.
"""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    ForeignKeyConstraint,
    Index,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlmodel import Field, SQLModel

from shared.kinds import Lane, Source, Status

Id = Annotated[UUID, Field(primary_key=True)]
Bucket = Annotated[int, Field(primary_key=True, sa_type=SmallInteger)]
Slot = Annotated[datetime, Field(primary_key=True, sa_type=DateTime(timezone=True))]
Key = Annotated[str, Field(primary_key=True, sa_type=Text)]
Small = Annotated[int, Field(sa_type=SmallInteger)]
Big = Annotated[int, Field(sa_type=BigInteger)]
OptionalBig = Annotated[int | None, Field(sa_type=BigInteger)]
OptionalSmall = Annotated[int | None, Field(sa_type=SmallInteger)]
String = Annotated[str, Field(sa_type=Text)]
OptionalString = Annotated[str | None, Field(sa_type=Text)]
Strings = Annotated[list[str], Field(sa_type=ARRAY(Text))]
Instant = Annotated[datetime, Field(sa_type=DateTime(timezone=True))]
OptionalInstant = Annotated[datetime | None, Field(sa_type=DateTime(timezone=True))]
Object = Annotated[dict[str, Any], Field(sa_type=JSONB)]
OptionalObject = Annotated[dict[str, Any] | None, Field(sa_type=JSONB)]
Objects = Annotated[list[dict[str, Any]], Field(sa_type=JSONB)]
Json = Annotated[Any, Field(sa_type=JSONB, nullable=True)]
Words = Annotated[str, Field(sa_type=TSVECTOR)]


class Table(SQLModel):
    """What the tables share: their schema."""

    metadata = MetaData(schema="foxtrot")


class User(Table, table=True):
    """Whose runs and schedules they are; made from the token at the first authenticated request."""

    __tablename__ = "users"

    id: Id
    bucket: Bucket
    org_id: OptionalString
    email: OptionalString
    zone: OptionalString
    role: String
    last_seen_at: OptionalInstant
    created_at: Instant


class Timetable(Table, table=True):
    """A set of cron expressions and one IANA zone, stored once and shared by every schedule with that rule."""

    __tablename__ = "timetables"
    __table_args__ = (UniqueConstraint("crons", "zone"), Index("timetables_due", "next_slot"))

    id: Id
    crons: Strings
    zone: String
    next_slot: Instant
    tzdata: String
    created_at: Instant


class Schedule(Table, table=True):
    """A user's standing wish: kind, parameters and timetable, enabled or paused."""

    __tablename__ = "schedules"
    __table_args__ = (
        UniqueConstraint("user_id", "key", "bucket"),
        ForeignKeyConstraint(["user_id", "bucket"], ["foxtrot.users.id", "foxtrot.users.bucket"], ondelete="CASCADE"),
        Index("schedules_expandable", "timetable_id", "id", postgresql_where=text("enabled and not dormant")),
    )

    id: Id
    bucket: Bucket
    user_id: UUID
    org_id: OptionalString
    key: String
    kind: String
    subject: OptionalString
    parameters: Object
    fingerprint: bytes
    timetable_id: UUID = Field(foreign_key="foxtrot.timetables.id")
    zone: String
    spread_seconds: int
    catch_up: String
    enabled: bool
    paused_at: OptionalInstant
    dormant: bool
    effective_from: Instant
    note: OptionalString
    created_at: Instant
    updated_at: Instant
    timed_from: Instant


class Pause(Table, table=True):
    """A stretch of time in which a schedule makes no runs: `paused` by somebody, or its user `inactive`."""

    __tablename__ = "pauses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["schedule_id", "bucket"], ["foxtrot.schedules.id", "foxtrot.schedules.bucket"], ondelete="CASCADE"
        ),
        Index("pauses_open", "schedule_id", "bucket", unique=True, postgresql_where=text("until is null")),
    )

    schedule_id: Id
    since: Slot
    bucket: Bucket
    user_id: UUID
    reason: String
    until: OptionalInstant
    note: OptionalString


class Tick(Table, table=True):
    """One timetable's one slot on its way into runs; its cursor lets another scheduler resume it after a crash.

    A tick that is split has several rows, each with the schedules after its `cursor` up to `through`.
    """

    __tablename__ = "ticks"
    __table_args__ = (
        Index(
            "ticks_open",
            "held",
            "scheduled_for",
            "timetable_id",
            "through",
            postgresql_where=text("finished_at is null"),
        ),
    )

    timetable_id: UUID = Field(primary_key=True, foreign_key="foxtrot.timetables.id", ondelete="CASCADE")
    scheduled_for: Slot
    through: Id
    newest: bool
    cursor: UUID
    runs: int
    skips: int
    missed: int
    created_at: Instant
    finished_at: OptionalInstant
    held: bool


class RunRow(Table, table=True):
    """A run, one requested execution of a kind for a user: what was asked and what came of it."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_user", "user_id", text("id desc")),
        {"postgresql_partition_by": "range (id)"},
    )

    id: Id
    bucket: Bucket
    user_id: UUID
    org_id: OptionalString
    kind: String
    subject: OptionalString
    source: String
    parameters: Object
    fingerprint: bytes
    client_context: OptionalObject
    schedule_id: UUID | None
    scheduled_for: OptionalInstant
    retry_of: UUID | None
    created_at: Instant
    status: OptionalString
    attempt: int
    started_at: OptionalInstant
    finished_at: OptionalInstant
    headline: OptionalString
    result: OptionalObject
    errors: Objects
    expires_at: OptionalInstant


class QueueRow(Table, table=True):
    """What is live: a run has its row here exactly until its status is final."""

    __tablename__ = "queue"
    __table_args__ = (
        Index("queue_live", "user_id", "fingerprint", "bucket", unique=True),
        Index("queue_claim", "lane", "kind", "available_at", "run_id", postgresql_where=text("worker_id is null")),
        Index("queue_held", "worker_id", postgresql_where=text("worker_id is not null")),
    )

    run_id: Id
    bucket: Bucket
    user_id: UUID
    org_id: OptionalString
    subject: OptionalString
    kind: String
    fingerprint: bytes
    lane: Small
    available_at: Instant
    waiting: OptionalString
    attempt: int
    max_attempts: int
    rescues: Small
    worker_id: UUID | None
    started_at: OptionalInstant
    percent: OptionalSmall
    step: OptionalString
    detail: OptionalString
    done: int | None
    total: int | None
    updated_at: Instant


class Skip(Table, table=True):
    """A slot that became no run, with its reason."""

    __tablename__ = "skips"
    __table_args__ = (Index("skips_by_cover", "run_id", postgresql_where=text("run_id is not null")),)

    schedule_id: Id
    scheduled_for: Slot
    bucket: Bucket
    user_id: UUID
    reason: String
    run_id: UUID | None
    created_at: Instant


class RunStep(Table, table=True):
    """A durable step of a run: done once, replayed on the next attempt."""

    __tablename__ = "run_steps"

    run_id: Id
    name: Key
    bucket: Bucket
    user_id: UUID
    attempt: int
    value: Json
    created_at: Instant


class Worker(Table, table=True):
    """A process that claims; a new id at every start."""

    __tablename__ = "workers"

    id: Id
    host: String
    pid: int
    version: String
    kinds: Strings
    slots: int
    started_at: Instant
    lease_expires_at: Instant
    stopping: bool


class Rate(Table, table=True):
    """A provider that all workers together call only so often."""

    __tablename__ = "rates"

    provider: Key
    next_call_at: Instant


class Model(Table, table=True):
    """The model of a kind's parameters that the fingerprints of its schedules were made with."""

    __tablename__ = "models"

    kind: Key
    digest: bytes
    updated_at: Instant


class AuditEntry(Table, table=True):
    """Who did what to whose rows; append-only."""

    __tablename__ = "audit_log"

    id: Id
    at: Instant
    actor: String
    action: String
    user_id: UUID | None
    detail: Object


class FetchUnit(Table, table=True):
    """One board of one source of postings; each successful fetch is a generation, and one worker at a time asks it."""

    __tablename__ = "fetch_units"

    source: Key
    board: Key
    generation: Big
    fetched_at: OptionalInstant
    complete: bool | None
    error: OptionalString
    error_can_pass: bool | None
    rests_until: OptionalInstant
    leased_by: UUID | None
    lease_expires_at: OptionalInstant


class FetchSource(Table, table=True):
    """A source of postings, all of its boards together: how often it was asked today, and until when it rests."""

    __tablename__ = "fetch_sources"

    source: Key
    day: date | None
    calls: int
    next_call_at: OptionalInstant
    rests_until: OptionalInstant
    error: OptionalString


class PostingRow(Table, table=True):
    """One job that a board lists or has listed, shared by all users; `heading` and `search` are its indexed words."""

    __tablename__ = "postings"
    __table_args__ = (
        UniqueConstraint("source", "board", "external_id"),
        Index("postings_search", "search", postgresql_using="gin", postgresql_where=text("closed_at is null")),
        Index("postings_heading", "heading", postgresql_using="gin", postgresql_where=text("closed_at is null")),
        Index("postings_twins", "twin_key", postgresql_where=text("closed_at is null")),
        Index("postings_open", "source", "board", postgresql_where=text("closed_at is null")),
    )

    id: Id
    source: String
    board: String
    external_id: String
    url: String
    title: String
    company: String
    departments: Strings
    places: Strings
    places_key: String
    remote: bool | None
    text: String
    posted_at: OptionalInstant
    content_hash: String
    first_seen_at: Instant
    last_seen_at: Instant
    closed_at: OptionalInstant
    opened_generation: Big
    heading: Words
    salary_min: float | None
    salary_max: float | None
    salary_currency: OptionalString
    salary_interval: OptionalString
    tags: Strings
    language: OptionalString
    twin_key: OptionalBig
    search: Words


class RunStatus(SQLModel):
    """A run as every reader reads it (the view foxtrot.run_status), live or final; validated, not a table."""

    id: UUID
    bucket: int
    user_id: UUID
    org_id: str | None
    kind: str
    subject: str | None
    source: Source
    parameters: dict[str, Any]
    fingerprint: bytes
    client_context: dict[str, Any] | None
    schedule_id: UUID | None
    scheduled_for: datetime | None
    retry_of: UUID | None
    created_at: datetime
    status: Status
    attempt: int
    max_attempts: int | None
    started_at: datetime | None
    finished_at: datetime | None
    lane: Lane | None
    available_at: datetime | None
    waiting: str | None
    worker_id: UUID | None
    percent: int | None
    step: str | None
    detail: str | None
    done: int | None
    total: int | None
    updated_at: datetime
    headline: str | None
    result: dict[str, Any] | None
    errors: list[dict[str, Any]]
    error: dict[str, Any] | None
    expires_at: datetime | None
