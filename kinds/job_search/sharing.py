"""Sharing: what many runs of one worker need at the same moment is done once, and all of them get it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx

from kinds.job_search.index import Index
from kinds.job_search.settings import JobSearchSettings
from shared.kinds import Run

T = TypeVar("T")


@dataclass
class _Errand:
    task: asyncio.Task[Any]
    waiting: int = 0


@dataclass
class Desk:
    """What the runs of one worker have in common: settings, the index of what is stored, and the errands under way."""

    settings: JobSearchSettings = field(default_factory=JobSearchSettings.load)  # reading `.env` takes 0.4 ms
    index: Index = field(default_factory=Index)
    _errands: dict[Hashable, _Errand] = field(default_factory=dict)

    async def once(self, errand: Hashable, make: Callable[[], Awaitable[T]], *, keep: float = 0) -> T:
        """What `make` returns or raises, shared by all who ask for the same errand until `keep` seconds after its end.

        It goes on as long as one of them is waiting; when the last is cancelled, so is it, and who asks while it cleans
        up begins anew. What failed is not kept.
        """
        shared = self._errands.get(errand)
        if shared is None:
            shared = self._errands[errand] = _Errand(asyncio.ensure_future(_run(make)))
            shared.task.add_done_callback(partial(self._done, errand, keep))
        shared.waiting += 1
        try:
            result: T = await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                self._forget(errand, shared.task)
                shared.task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await shared.task
        return result

    def _done(self, errand: Hashable, keep: float, task: asyncio.Task[Any]) -> None:
        if keep and not task.cancelled() and task.exception() is None:
            task.get_loop().call_later(keep, self._forget, errand, task)
        else:
            self._forget(errand, task)

    def _forget(self, errand: Hashable, task: asyncio.Task[Any]) -> None:
        shared = self._errands.get(errand)
        if shared is not None and shared.task is task:
            del self._errands[errand]


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


# A worker lends all of its runs the same HTTP client, and runs of two workers in one process two of them.
_desks: WeakKeyDictionary[httpx.AsyncClient, Desk] = WeakKeyDictionary()


def desk_of(run: Run) -> Desk:
    """The desk of the run's worker."""
    desk = _desks.get(run.http)
    if desk is None:
        desk = _desks[run.http] = Desk()
    return desk
