"""The fence: what a worker must still hold of a run for its word to count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row


class Fence(NamedTuple):
    """An attempt by its key: the queue has each number of a run at most once."""

    run_id: UUID
    attempt: int


@dataclass
class Held:
    """What a worker says of an attempt that it holds; not frozen, as that doubles what making one costs."""

    run_id: UUID
    bucket: int
    attempt: int

    @cached_property
    def fence(self) -> Fence:
        """The attempt that this is about."""
        return Fence(self.run_id, self.attempt)


H = TypeVar("H", bound=Held)


def in_order(held: Sequence[H]) -> list[H]:
    """By run_id: the order in which rows are locked."""
    return sorted(held, key=lambda one: one.run_id.int)


def fence_columns(held: Sequence[Held]) -> dict[str, list[Any]]:
    """The three arrays that find the rows of `held`, which are `in_order`."""
    return {
        "run_ids": [one.run_id for one in held],
        "buckets": [one.bucket for one in held],
        "attempts": [one.attempt for one in held],
    }


async def fetch_fences(conn: AsyncConnection, query: bytes, values: Mapping[str, Any]) -> set[Fence]:
    """Execute a statement that answers with (run_id, attempt), and return the attempts that it names."""
    async with conn.cursor(row_factory=args_row(Fence)) as cursor:
        await cursor.execute(query, values)
        return set(await cursor.fetchall())
