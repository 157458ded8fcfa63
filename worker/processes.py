"""Processes: handlers that need a core or may crash run in children, whose end is not the worker's."""

import asyncio
import inspect
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any, NoReturn
from uuid import UUID

import httpx
import structlog
from pebble import ProcessExpired, ProcessPool
from pydantic import BaseModel

from shared.errors import HandlerError
from shared.kinds import Kind, Progress, Run, load_handler
from worker.failures import AttemptFailedError, Failure, crashed, explain

log = structlog.get_logger()

OUT_OF_MEMORY = 12  # exit code of a child
LONGEST_WORD = 500  # characters of step and detail: a message below the 4,096 bytes that a pipe takes whole


class Processes:
    """At most `size` children, started with the first handler that needs one; a child that dies is replaced.

    Who holds one of the `places` need not wait for a child.
    """

    def __init__(self, size: int) -> None:
        self.places = asyncio.Semaphore(size)
        self._size = size
        self._pool: ProcessPool | None = None
        self._runs: dict[tuple[UUID, int], Run] = {}
        self._sender: Connection | None = None

    async def perform(self, kind: Kind[Any, Any], run: Run, parameters: BaseModel) -> Any:
        """What the handler returns in a child, which is killed when this is cancelled.

        Raises `AttemptFailedError` for what it raises there, and when the child dies.
        """
        key = (run.id, run.attempt)
        self._runs[key] = run
        future = self._open().schedule(_perform, args=[kind.name, kind.handler, _portable(run), parameters])
        try:
            returned = await asyncio.wrap_future(future)
        except ProcessExpired as error:
            raise AttemptFailedError(_died(kind, error)) from error
        finally:
            future.cancel()  # type: ignore[no-untyped-call]  # pebble's cancels kill the child
            del self._runs[key]
        if isinstance(returned, Failure):
            raise AttemptFailedError(returned)
        return returned

    def close(self) -> None:
        """Kill the children."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
        if self._sender is not None:
            self._sender.close()

    def _open(self) -> ProcessPool:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would share our sockets and locks
            receiver, self._sender = context.Pipe(duplex=False)
            threading.Thread(target=self._listen, args=[receiver], name="progress", daemon=True).start()
            self._pool = ProcessPool(self._size, initializer=_prepare, initargs=[self._sender], context=context)
        return self._pool

    def _listen(self, receiver: Connection) -> None:
        while True:
            try:
                run_id, attempt, said = receiver.recv()
            except (EOFError, OSError):
                return
            if run := self._runs.get((run_id, attempt)):
                run.ports.progress(run, said)


@asynccontextmanager
async def open_processes(size: int) -> AsyncIterator[Processes]:
    """Children for as long as the block takes."""
    processes = Processes(size)
    try:
        yield processes
    finally:
        await asyncio.to_thread(processes.close)


def _died(kind: Kind[Any, Any], error: ProcessExpired) -> Failure:
    if error.exitcode == OUT_OF_MEMORY:
        return Failure("MemoryError", f"The process of {kind.name!r} ran out of memory", "It may need a higher limit.")
    how = f"signal {signal.Signals(-error.exitcode).name}" if error.exitcode < 0 else f"exit code {error.exitcode}"
    hint = "If that is SIGKILL, the machine may have run out of memory."
    return Failure("ProcessDied", f"The process of {kind.name!r} died with {how}", hint, retry=True)


def _portable(run: Run) -> dict[str, Any]:
    """The fields of a run that a child can be handed."""
    return {name: value for name, value in vars(run).items() if name not in {"log", "ports"}}


# In the child ---------------------------------------------------------------------------------------------------------

_parent: Connection


class ChildPorts:
    """`shared.kinds.RunPorts` in a child: progress goes to the worker, the worker's connections stay with it."""

    @property
    def http(self) -> httpx.AsyncClient:
        """Not here."""
        _missing("run.http")

    def progress(self, run: Run, progress: Progress) -> None:
        """Send it to the worker. Messages this short are whole, however many children write at once."""
        words = {name: word[:LONGEST_WORD] for name in ("step", "detail") if (word := getattr(progress, name))}
        _parent.send((run.id, run.attempt, progress.model_copy(update=words)))

    def db(self) -> AbstractAsyncContextManager[Any]:
        """Not here."""
        _missing("run.db()")

    async def turn(self, run: Run, provider: str) -> None:  # noqa: ARG002 - the port's signature
        """Not here."""
        _missing("run.turn()")

    async def step(self, run: Run, name: str, make: object) -> Any:  # noqa: ARG002 - the port's signature
        """Not here."""
        _missing("run.step()")


def _missing(name: str) -> NoReturn:
    raise HandlerError(
        f"{name} is not there in a process of its own",
        hint="Do this before or after in a kind without process=True, or open a connection in the handler.",
    )


def _prepare(parent: Connection) -> None:
    global _parent  # noqa: PLW0603 - one process, one parent
    _parent = parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker decides what ends
    logging.captureWarnings(capture=True)


def _perform(kind: str, handler: str, fields: dict[str, Any], parameters: BaseModel) -> Any:
    """What the handler returns, or the `Failure` that its error comes to: not every error survives the way back."""
    run = Run(**fields, ports=ChildPorts())
    try:
        returned: Any = load_handler(kind, handler)(run, parameters)
        return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what the traceback holds may be what there was, and the next one here needs some
    except Exception as error:
        known = explain(error)
        log.warning("child_failed", kind=kind, exc_info=None if known else error)
        return known or crashed(kind, error)


async def _awaited(returned: Any) -> Any:
    return await returned
