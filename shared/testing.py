"""Trying a handler: call it as a worker would, without a worker, and without a database unless it needs one."""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from psycopg import AsyncConnection

from shared.db import connect
from shared.errors import HandlerError
from shared.fingerprint import fingerprint
from shared.kinds import Kind, Progress, Run, Snooze, Source


@dataclass
class TrialPorts:
    """What a worker would lend to a handler: progress, steps and turns are only written down here.

    Values put into `steps` before are those of earlier attempts. `database_url` is where `run.db()` leads.
    """

    http: httpx.AsyncClient
    database_url: str | None = None
    on_progress: Callable[[Progress], object] = lambda _: None
    said: list[Progress] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)

    def progress(self, run: Run, progress: Progress) -> None:  # noqa: ARG002 - the port's signature
        """Write it down."""
        self.said.append(progress)
        self.on_progress(progress)

    @asynccontextmanager
    async def db(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction; raises `HandlerError` when this trial has no database."""
        if self.database_url is None:
            raise HandlerError("this handler needs a database", hint="Give the trial a database_url.")
        async with await connect(self.database_url, "trial", autocommit=False) as conn:
            yield conn

    async def turn(self, run: Run, provider: str) -> None:  # noqa: ARG002 - the port's signature
        """Write it down; nobody else is calling."""
        self.turns.append(provider)

    async def step(self, run: Run, name: str, make: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG002
        """What was made before under that name, else what `make` returns, as JSON gives it back."""
        if name not in self.steps:
            self.steps[name] = json.loads(json.dumps(await make()))
        return self.steps[name]


async def try_handler(
    kind: Kind[Any, Any], parameters: Any, ports: TrialPorts, *, user_id: UUID | None = None, attempt: int = 1
) -> Any:
    """One attempt: the handler's result as its kind's model, or its `Snooze`; raises what the handler raises.

    It runs right here, sync handlers and those of kinds with `process` too, so that a debugger stops in it.
    """
    parsed = kind.parse(parameters)
    run = Run(
        id=uuid4(),
        user_id=user_id or uuid4(),
        org_id=None,
        kind=kind.name,
        subject=kind.subject(parsed),
        source=Source.MANUAL,
        attempt=attempt,
        fingerprint=fingerprint(kind.name, None, parsed),
        scheduled_for=None,
        client_context=None,
        ports=ports,
    )
    returned: Any = kind.load_handler()(run, parsed)
    returned = await returned if inspect.isawaitable(returned) else returned
    return returned if isinstance(returned, Snooze) else kind.result.model_validate(returned)
