"""Insisting: what must be written is tried until Postgres takes it, however long it is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.wake import backoff

T = TypeVar("T")

LONGEST_BACKOFF = 5.0


async def insist(
    work: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...], complain: Callable[..., object]
) -> T:
    """What `work` returns, which is done again after each of `errors`: it has to be such that twice does no harm.

    `complain` gets `error` and `failures`, their number so far, for the log.
    """
    failures = 0
    while True:
        try:
            return await work()
        except errors as error:
            failures += 1
            complain(error=str(error), failures=failures)
        await asyncio.sleep(backoff(failures, first=0.1, longest=LONGEST_BACKOFF))
