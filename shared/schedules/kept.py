"""Kept searches: a user's one standing schedule of a kind, which follows their last criteria."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from pydantic import BaseModel

from shared.db import fetch_all, load_sql
from shared.errors import InvalidInputError
from shared.kinds import Kind
from shared.schedules.put import Put, find_owner, find_stored, store, work_of
from shared.schedules.wish import KEPT, Rules, Wish

UNENROLLED = load_sql(__file__, "unenrolled")
FIRST = UUID(int=0)
AT_ONCE = 500


@dataclass(frozen=True)
class Candidate:
    """Somebody who runs the kind by hand and has no schedule of it, with the parameters of their last success."""

    user_id: UUID
    parameters: dict[str, Any]


@dataclass
class Enrolled:
    """What enrolling some users came to; `last` is where the next goes on, None at the end."""

    schedules: int = 0
    refused: list[UUID] = field(default_factory=list)
    last: UUID | None = None


async def keep_search(
    conn: AsyncConnection,
    user_id: UUID,
    kind: Kind[Any, Any],
    parameters: BaseModel,
    *,
    crons: Sequence[str],
    rules: Rules,
    subject: str | None = None,
) -> Put:
    """Let the user's schedule `kept:<kind>` run with these parameters, in the caller's transaction.

    `subject` is what its runs are about; left out, it is taken from the parameters as the kind does. Times, zone and
    pause stay as they are; a new one gets `crons` in the user's zone. It doesn't count towards the user's limit.
    """
    owner = await find_owner(conn, user_id)
    key = KEPT + kind.name
    stored = await find_stored(conn, user_id, key)
    wish = stored.wish if stored else Wish(key, kind.name, parameters, crons)
    work = work_of(kind, parameters, owner.org_id)
    work["subject"] = subject or work["subject"]
    return await store(conn, user_id, owner, stored, wish, rules, work)


async def enroll_some(
    conn: AsyncConnection,
    kind: Kind[Any, Any],
    *,
    crons: Sequence[str],
    rules: Rules,
    dry_run: bool,
    after: UUID = FIRST,
    at_most: int = AT_ONCE,
) -> Enrolled:
    """Keep the last search of the next `at_most` users who have only ever run the kind by hand, in id order.

    `refused` are those whose parameters the kind doesn't take any more. A dry run stores nothing.
    """
    values = {"kind": kind.name, "after": after, "at_most": at_most}
    found = await fetch_all(conn, UNENROLLED, values, Candidate)
    enrolled = Enrolled(last=found[-1].user_id if len(found) == at_most else None)
    for candidate in found:
        try:
            parameters = kind.parse(candidate.parameters)
            kind.check(parameters)
        except InvalidInputError:
            enrolled.refused.append(candidate.user_id)
            continue
        if not dry_run:
            await keep_search(conn, candidate.user_id, kind, parameters, crons=crons, rules=rules)
        enrolled.schedules += 1
    return enrolled
