"""Execution: one attempt from its start to what it came to, whatever the handler does."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from shared.kinds import Kind, Run, Source
from shared.queue import Claimed, Fence
from worker.failures import AttemptFailedError, Failure, crashed, explain, timed_out
from worker.outcomes import Ended, conclude
from worker.ports import AttemptPorts, Tools
from worker.processes import Processes

log = structlog.get_logger()

AsyncHandler = Callable[[Run, Any], Awaitable[Any]]

PATIENCE = 10.0
MOST_ABANDONED = 10
SOURCES = {source.value: source for source in Source}


class Ending(Enum):
    """Why an attempt was told to stop."""

    TIMED_OUT = "timed out"  # it took longer than its kind allows: it has failed
    DROPPED = "dropped"  # others decide about its run now: nothing is recorded


@dataclass(eq=False)
class Attempt:
    """An attempt in hand."""

    claimed: Claimed
    kind: Kind[Any, Any]
    run: Run
    ending: Ending | None = None
    fence: Fence = field(init=False)  # its key: the same run may come back to this worker for another attempt
    task: asyncio.Task[Ended | None] = field(init=False)
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.fence = Fence(self.claimed.run_id, self.claimed.attempt)


class Attempts:
    """The attempts that a worker is making.

    `on_end` takes each outcome, `on_free` hears of each slot that becomes free, and `on_crowded` that ten handlers
    went on although they were told to stop.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind[Any, Any]],
        tools: Tools,
        processes: Processes,
        *,
        on_end: Callable[[Ended], None],
        on_free: Callable[[], None],
        on_crowded: Callable[[], None],
    ) -> None:
        self.running: dict[Fence, Attempt] = {}
        self.abandoned: set[Attempt] = set()
        self._kinds = kinds
        self._handlers = {name: _awaitable(kind, processes) for name, kind in kinds.items()}
        self._tools = tools
        self._processes = processes
        self._on_end = on_end
        self._on_free = on_free
        self._on_crowded = on_crowded
        self._loop = asyncio.get_running_loop()  # asked once: in Python 3.11 the question is a system call
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, worker_id: UUID, claimed: Claimed) -> None:
        """Begin an attempt; it frees its slot when its handler has ended, or was abandoned."""
        kind = self._kinds[claimed.kind]
        attempt = Attempt(claimed, kind, self._handle(claimed, AttemptPorts(self._tools, worker_id, claimed)))
        self.running[attempt.fence] = attempt
        self._idle.clear()
        attempt.task = self._loop.create_task(self._perform(attempt))
        attempt.task.add_done_callback(partial(self._finish, attempt))

    def stop(self, attempt: Attempt, ending: Ending) -> None:
        """Tell an attempt to stop; a handler that has not done so after 10 s is abandoned."""
        told_before, attempt.ending = attempt.ending, ending
        if told_before is None:
            attempt.run.cancelled = True
            self._set_timer(attempt, PATIENCE, self.abandon)
            attempt.task.cancel()

    def time_out(self, attempt: Attempt) -> None:
        """Tell an attempt that its kind's timeout has passed."""
        self.stop(attempt, Ending.TIMED_OUT)

    def drop_run(self, run_id: UUID) -> None:
        """Drop every attempt of a run that is over."""
        for attempt in [attempt for attempt in self.running.values() if attempt.claimed.run_id == run_id]:
            self.stop(attempt, Ending.DROPPED)

    def drop_all(self) -> None:
        """Drop everything in hand."""
        for attempt in list(self.running.values()):
            self.stop(attempt, Ending.DROPPED)

    def abandon(self, attempt: Attempt) -> None:
        """Give up waiting for a handler that was told to stop: its slot is free, and what it returns is ignored."""
        if attempt.fence not in self.running:
            return
        self.abandoned.add(attempt)
        attempt.run.log.error("handler_abandoned", abandoned=len(self.abandoned))
        timed = attempt.ending is Ending.TIMED_OUT
        self._leave(attempt, timed_out(attempt.kind).end(attempt.kind, attempt.claimed) if timed else None)
        if len(self.abandoned) >= MOST_ABANDONED:
            self._on_crowded()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when nothing is in hand any more, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def _handle(self, claimed: Claimed, ports: AttemptPorts) -> Run:
        return Run(
            id=claimed.run_id,
            user_id=claimed.user_id,
            org_id=claimed.org_id,
            kind=claimed.kind,
            subject=claimed.subject,
            source=SOURCES[claimed.source],
            attempt=claimed.attempt,
            fingerprint=claimed.fingerprint,
            scheduled_for=claimed.scheduled_for,
            client_context=claimed.client_context,
            ports=ports,
        )

    async def _perform(self, attempt: Attempt) -> Ended | None:
        kind, claimed = attempt.kind, attempt.claimed
        try:
            parameters = kind.parse(claimed.parameters)
            async with self._processes.places if kind.process else nullcontext():
                # From here on, so that who waits for a process pays nothing for those that take long in theirs.
                self._set_timer(attempt, kind.timeout.total_seconds(), self.time_out)
                returned = await self._handlers[kind.name](attempt.run, parameters)
            return conclude(kind, claimed, returned)
        except BaseException as error:  # noqa: BLE001 - whatever a handler lets out, the worker lives on
            return _failed(attempt, error)

    def _finish(self, attempt: Attempt, task: asyncio.Task[Ended | None]) -> None:
        if attempt.timer:
            attempt.timer.cancel()
        self.abandoned.discard(attempt)
        if attempt.fence in self.running:
            self._leave(attempt, None if task.cancelled() else task.result())

    def _set_timer(self, attempt: Attempt, seconds: float, then: Callable[[Attempt], None]) -> None:
        if attempt.timer:
            attempt.timer.cancel()
        attempt.timer = self._loop.call_later(seconds, then, attempt)

    def _leave(self, attempt: Attempt, ended: Ended | None) -> None:
        del self.running[attempt.fence]
        if ended is not None and attempt.ending is not Ending.DROPPED:
            self._on_end(ended)
        self._on_free()
        if not self.running:
            self._idle.set()


def _failed(attempt: Attempt, error: BaseException) -> Ended | None:
    """What an error comes to; the error of an attempt that was told to stop says nothing of its own."""
    if attempt.ending is Ending.DROPPED:
        return None
    kind = attempt.kind
    known = timed_out(kind) if attempt.ending is Ending.TIMED_OUT else _known(error)
    failure = known or crashed(kind.name, error)
    attempt.run.log.warning(
        "attempt_failed", error=failure.name, why=failure.message, exc_info=None if known else error
    )
    return failure.end(kind, attempt.claimed)


def _known(error: BaseException) -> Failure | None:
    return error.failure if isinstance(error, AttemptFailedError) else explain(error)


def _awaitable(kind: Kind[Any, Any], processes: Processes) -> AsyncHandler:
    """The kind's handler, to be awaited: in a process if the kind wants one; else a sync one runs in a thread."""
    handler: Callable[..., Any] = kind.load_handler()
    if kind.process:
        return partial(processes.perform, kind)
    return handler if inspect.iscoroutinefunction(handler) else partial(_in_thread, handler)


async def _in_thread(handler: Callable[..., Any], run: Run, parameters: Any) -> Any:
    work = asyncio.ensure_future(asyncio.to_thread(handler, run, parameters))
    try:
        returned = await asyncio.shield(work)
    except asyncio.CancelledError:
        # A thread can't be cancelled: it sees `run.cancelled`, and its slot is taken until it has ended.
        returned = await work
    return await returned if inspect.isawaitable(returned) else returned
