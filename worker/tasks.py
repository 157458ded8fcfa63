"""Tasks: how the worker's loops are ended."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended; what they raise meanwhile is theirs.

    Once is not enough: in Python 3.11 `asyncio.wait_for`, with which psycopg's pool waits, loses a cancellation that
    comes in the same turn of the loop as what it waits for (cpython issue 86296, mended in 3.12).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
