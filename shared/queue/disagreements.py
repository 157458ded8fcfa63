"""Disagreements: whether queue and runs tell the same story, row by row, and how to mend it."""

from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql

DISAGREEMENTS = load_sql(__file__, "disagreements")

REPAIR = load_sql(__file__, "repair")

REPAIRS = {
    "lost": "put it back into the queue",
    "ghost": "delete the queue row",
    "undead": "delete the queue row",
    "orphan": "start a worker or a scheduler: each of them rescues",
    "double": "delete the skip",
}


@dataclass(frozen=True)
class Disagreement:
    """A row that two tables tell differently: `fault` is its short name, `what` the sentence."""

    run_id: UUID
    fault: str
    what: str

    @property
    def remedy(self) -> str:
        """What would mend it."""
        return REPAIRS[self.fault]


@dataclass(frozen=True)
class Mend:
    """What was done about a run."""

    run_id: UUID
    action: str


async def disagreements(conn: AsyncConnection, at_most: int = 100) -> list[Disagreement]:
    """The first `at_most` disagreements; an empty list is a healthy database."""
    return await fetch_all(conn, DISAGREEMENTS, {"at_most": at_most}, Disagreement)


async def repair(conn: AsyncConnection) -> list[Mend]:
    """Mend what disagrees, but for orphans, which a rescue gives back; each mend is written to the audit log."""
    return await fetch_all(conn, REPAIR, {}, Mend)
