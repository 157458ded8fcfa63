"""What can run: the `Kind` definition, the registry, and the `Run` handle that a handler gets."""

import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import httpx
import structlog
from psycopg import AsyncConnection
from pydantic import BaseModel, ValidationError
from structlog.typing import FilteringBoundLogger

from shared.errors import InvalidInputError, SettingsError, UnknownKindError

HEADLINE_LENGTH = 120

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


class Source(StrEnum):
    """Who asked for a run."""

    MANUAL = "manual"
    CRON = "cron"
    BACKFILL = "backfill"


class Status(StrEnum):
    """Where a run stands; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Lane(IntEnum):
    """Claim order: every due manual run before every cron run, those before every backfill run."""

    MANUAL = 0
    CRON = 1
    BACKFILL = 2


@dataclass(frozen=True)
class Step:
    """One of a kind's ordered steps: a stable name, its words for the user, and the percent at which it begins."""

    name: str
    text: str
    percent: int


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` tries in all; waits of at most `first * 2**n`, never above `cap`, drawn with full jitter."""

    attempts: int = 3
    first: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Retention:
    """How long a finished run can be read, by status."""

    success: timedelta = timedelta(days=30)
    failed: timedelta = timedelta(days=7)
    cancelled: timedelta = timedelta(days=7)

    def of(self, status: Status) -> timedelta:
        """The retention of a final status."""
        period: timedelta = getattr(self, status.value)
        return period

    @property
    def longest(self) -> timedelta:
        """The longest of the three: what no partition may be dropped before."""
        return max(self.success, self.failed, self.cancelled)


@dataclass(frozen=True)
class Kind(Generic[P, R]):
    """What can run: a stable name, the models of its parameters and result, and how it is to be treated.

    `handler` is an import string, `package.module:function`, so that a process which only lists or enqueues the kind
    never imports the work. The function takes `(run, parameters)` and returns the result model or a `Snooze`.
    `headline` turns a result into one line for lists and toasts; `subject` takes what a run is about from its
    parameters; `reuse_for` lets Run now answer with a finished success of that age. `check` raises `InvalidInputError`
    for parameters that are well formed but that this installation can't serve: it is asked before a run or a schedule
    is accepted, and never of those that were.

    A manual run that no worker begins within `start_within` fails. At most `running_limit` runs of the kind go on at
    once, all workers together. `rates` are the calls a minute that all workers together may make to each provider,
    which a handler heeds by `await run.turn(provider)`. `process` runs the handler in a process of its own, for work
    that needs a core, or that may crash.
    """

    name: str
    parameters: type[P]
    result: type[R]
    handler: str
    title: str
    headline: Callable[[R], str]
    doing: str = "Working"
    steps: Sequence[Step] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    subject: Callable[[P], str | None] = lambda _: None
    check: Callable[[P], None] = lambda _: None
    usual_duration: timedelta = timedelta(seconds=30)
    timeout: timedelta = timedelta(minutes=10)
    reuse_for: timedelta = timedelta(0)
    start_within: timedelta | None = None
    running_limit: int | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    process: bool = False
    retention: Retention = Retention()
    retry: RetryPolicy = RetryPolicy()

    def __post_init__(self) -> None:
        """Raise `SettingsError` for limits that would let nothing run."""
        if self.running_limit is not None and self.running_limit < 1:
            raise SettingsError(f"kind {self.name!r}: running_limit {self.running_limit} must be at least 1")
        for provider, rate in self.rates.items():
            if rate <= 0:
                raise SettingsError(f"kind {self.name!r}: the rate of {provider!r} must be above 0, it is {rate}")

    def parse(self, parameters: Any) -> P:
        """Parameters from JSON; raises `InvalidInputError` naming the first wrong field and why."""
        try:
            return self.parameters.model_validate(parameters)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = ".".join(["parameters", *(str(part) for part in first["loc"])])
            raise InvalidInputError(f"{path}: {first['msg'].removeprefix('Value error, ')}", field=path) from error

    def load_handler(self) -> "Handler":
        """Import the handler; raises `SettingsError` when the import string leads nowhere."""
        return load_handler(self.name, self.handler)


@dataclass(frozen=True)
class Snooze:
    """What a handler returns to be called again at `until`; `why` is shown to the user meanwhile."""

    until: datetime
    why: str


class Handler(Protocol):
    """The function that makes one attempt."""

    def __call__(self, run: "Run", parameters: Any, /) -> Awaitable[BaseModel | Snooze]:
        """Return the result model or a `Snooze`; raise to fail."""


class Progress(BaseModel):
    """The latest word of a running attempt; a field that is None keeps what was said before."""

    percent: int | None = None
    step: str | None = None
    detail: str | None = None
    done: int | None = None
    total: int | None = None


class RunPorts(Protocol):
    """What a worker lends to a handler; a test of a handler brings its own."""

    @property
    def http(self) -> httpx.AsyncClient:
        """The client for calls over HTTP."""

    def progress(self, run: "Run", progress: Progress) -> None:
        """Take the latest progress; it is written with the next flush."""

    def db(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A pooled connection, in one transaction that commits at the end of the block."""

    async def turn(self, run: "Run", provider: str) -> None:
        """Wait until all workers together may call the provider once more."""

    async def step(self, run: "Run", name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """The recorded value of a durable step, made by `make` if no attempt has recorded it."""


@dataclass
class Run:
    """One attempt, as its handler sees it."""

    id: UUID
    user_id: UUID
    org_id: str | None
    kind: str
    subject: str | None
    source: Source
    attempt: int
    fingerprint: bytes
    scheduled_for: datetime | None
    client_context: dict[str, Any] | None
    ports: RunPorts
    cancelled: bool = False

    @cached_property
    def log(self) -> FilteringBoundLogger:
        """A logger whose every line names this attempt."""
        bound: FilteringBoundLogger = structlog.get_logger().bind(
            run_id=str(self.id), user_id=str(self.user_id), kind=self.kind, attempt=self.attempt
        )
        return bound

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt: hand it to services that fold repeated calls into one."""
        return str(self.id)

    @property
    def http(self) -> httpx.AsyncClient:
        """The worker's shared HTTP client."""
        return self.ports.http

    def progress(
        self,
        percent: int | None = None,
        step: str | None = None,
        detail: str | None = None,
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """Say how far the work is; costs nothing, so say it as often as you like. `percent` is cut to 0..100."""
        within = None if percent is None else max(0, min(100, percent))
        self.ports.progress(self, Progress(percent=within, step=step, detail=detail, done=done, total=total))

    def db(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """`async with run.db() as conn`: a pooled connection in one transaction, committed at the end of the block."""
        return self.ports.db()

    async def turn(self, provider: str) -> None:
        """Wait for one call to the provider, as its kind's `rates` allow; raises `SettingsError` for an unknown one."""
        await self.ports.turn(self, provider)

    async def step(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Do a step once for all attempts: its JSON value is recorded and replayed on the next attempt."""
        return await self.ports.step(self, name, make)


class Registry:
    """The kinds of one installation, by name."""

    def __init__(self, kinds: Sequence[Kind[Any, Any]]) -> None:
        self.kinds: dict[str, Kind[Any, Any]] = {}
        for kind in kinds:
            if self.kinds.get(kind.name, kind) is not kind:  # one that a second module imports is still the same
                raise SettingsError(f"kind {kind.name!r} is defined twice", hint="Rename one of them.")
            self.kinds[kind.name] = kind

    def get(self, name: str) -> Kind[Any, Any]:
        """The kind of that name; raises `UnknownKindError` listing what there is."""
        try:
            return self.kinds[name]
        except KeyError:
            known = ", ".join(sorted(self.kinds)) or "none"
            raise UnknownKindError(f"kind {name!r} is unknown; known kinds: {known}", field="kind") from None


def load_handler(kind: str, path: str) -> Handler:
    """Import a kind's handler by its import string; raises `SettingsError` when that leads nowhere."""
    module, _, name = path.partition(":")
    try:
        handler: Handler = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"kind {kind!r}: handler {path!r} can't be imported: {error}",
            hint="Write it as 'package.module:function'.",
        ) from error
    return handler


def load_registry(modules: Sequence[str]) -> Registry:
    """Import each module and collect the `Kind` objects at its top level.

    Raises `SettingsError` when a module can't be imported, holds no kind, or two kinds share a name.
    """
    found: list[Kind[Any, Any]] = []
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise SettingsError(f"FOXTROT_KINDS: module {name!r} can't be imported: {error}") from error
        kinds = [value for _, value in inspect.getmembers(module) if isinstance(value, Kind)]
        if not kinds:
            raise SettingsError(
                f"FOXTROT_KINDS: module {name!r} defines no Kind", hint="Put Kind(...) at its top level."
            )
        found += kinds
    return Registry(found)
