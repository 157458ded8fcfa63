"""Sharing: what many runs of one worker need at the same moment is done once, and all of them get it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx

from kinds.job_search.index import Index
from shared.kinds import Run

T = TypeVar("T")


@dataclass
class _Errand:
    task: asyncio.Task[Any]
    waiting: int = 0


@dataclass
class Desk:
    """What the runs of one worker have in common: the index of what is stored, and the errands that are under way."""

    index: Index = field(default_factory=Index)
    _errands: dict[Hashable, _Errand] = field(default_factory=dict)

    async def once(self, errand: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` returns or raises, shared by all who ask for the same errand until it is done.

        It goes on as long as one of them is waiting; when the last is cancelled, so is it.
        """
        shared = self._errands.get(errand)
        if shared is None:
            shared = self._errands[errand] = _Errand(asyncio.ensure_future(_run(make)))
            shared.task.add_done_callback(lambda _: self._errands.pop(errand))
        shared.waiting += 1
        try:
            result: T = await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                shared.task.cancel()
                with suppress(asyncio.CancelledError):
                    await shared.task
        return result


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


# A worker lends all of its runs the same HTTP client, and runs of two workers in one process two of them.
_desks: WeakKeyDictionary[httpx.AsyncClient, Desk] = WeakKeyDictionary()


def desk_of(run: Run) -> Desk:
    """The desk of the run's worker."""
    return _desks.setdefault(run.http, Desk())
