"""The kinds of benchmarks/worker.py: handlers that do next to nothing, so that the engine is what is measured."""

import asyncio
import time
from datetime import timedelta

from pydantic import BaseModel

from shared.kinds import Kind, Run


class Nothing(BaseModel):
    """No parameters."""


class Number(BaseModel):
    """A run's parameter."""

    number: int = 0


class Began(BaseModel):
    """When the handler began, by the machine's clock."""

    at: float


async def do_nothing(run: Run, parameters: Number) -> Number:  # noqa: ARG001 - a handler's signature
    """Return at once."""
    return parameters


async def note_start(run: Run, parameters: Number) -> Began:  # noqa: ARG001 - a handler's signature
    """Return when it began."""
    return Began(at=time.time())


async def wait(run: Run, parameters: Number) -> Nothing:
    """Wait on I/O that takes its time, and say so once a second."""
    for second in range(parameters.number):
        run.progress(done=second, total=parameters.number)
        await asyncio.sleep(1)
    return Nothing()


NOOP = Kind("noop", Number, Number, f"{__name__}:do_nothing", "No-op", lambda result: f"Number {result.number}")
OTHER = Kind("other", Number, Number, f"{__name__}:do_nothing", "Other", lambda result: f"Number {result.number}")
TIMED = Kind("timed", Number, Began, f"{__name__}:note_start", "Timed", lambda _: "Began")
LONG = Kind("long", Number, Nothing, f"{__name__}:wait", "Long", lambda _: "Waited", timeout=timedelta(hours=1))
