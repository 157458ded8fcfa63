"""Fingerprints of schedules follow their kind's model and their user's org, so that overlaps are still seen as such."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import fetch_all, in_transaction, load_sql
from shared.fingerprint import digest_model, fingerprint
from shared.kinds import Registry

MODELS = load_sql(__file__, "list_models")
NOTE_MODEL = load_sql(__file__, "note_model")
FIND = load_sql(__file__, "find_fingerprints")
ELSEWHERE = load_sql(__file__, "find_elsewhere")
SET = load_sql(__file__, "set_fingerprints")

AT_MOST = 2000
FIRST = UUID(int=0)


class Followed(NamedTuple):
    """What became of a kind's schedules whose model had changed: seen, made anew, and those that the model refuses."""

    kind: str
    seen: int
    changed: int
    unfit: list[UUID]


@dataclass(frozen=True)
class _Model:
    kind: str
    digest: bytes


@dataclass(frozen=True)
class _Fingerprinted:
    id: UUID
    bucket: int
    org_id: str | None
    kind: str
    parameters: dict[str, Any]
    fingerprint: bytes


class _Chunk(NamedTuple):
    rows: list[_Fingerprinted]
    changed: int
    unfit: list[UUID]


async def follow_org(conn: AsyncConnection, registry: Registry, user_id: UUID) -> int:
    """Hand the user's schedules over to the org that the user is in now; returns how many were another's.

    In the caller's transaction. Runs that are live stay with the org that they were asked for in; schedules of kinds
    that are not registered, or whose parameters their kind refuses, stay as they are.
    """
    rows = await fetch_all(conn, ELSEWHERE, {"user_id": user_id}, _Fingerprinted)
    known = [row for row in rows if row.kind in registry.kinds]
    return (await _make_anew(conn, registry, known)).changed


async def follow_models(pool: AsyncConnectionPool, registry: Registry) -> list[Followed]:
    """Make the fingerprints of the schedules anew whose kind's parameters model changed since the last call.

    A field that was given and is now the default no longer counts, as it doesn't in a run by hand that leaves it out.
    In transactions of 2,000 schedules; repeating it after a crash is safe. Runs that are live keep what they have.
    """
    models = await in_transaction(pool, partial(fetch_all, query=MODELS, values={}, row=_Model))
    before = {model.kind: model.digest for model in models}
    followed = []
    for kind in registry.kinds.values():
        digest = digest_model(kind.parameters)
        if before.get(kind.name) != digest:
            followed.append(await _follow(pool, registry, kind.name))
            note = methodcaller("execute", NOTE_MODEL, {"kind": kind.name, "digest": digest})
            await in_transaction(pool, note)
    return followed


async def _follow(pool: AsyncConnectionPool, registry: Registry, kind: str) -> Followed:
    seen, changed, unfit, after = 0, 0, list[UUID](), FIRST
    while True:
        chunk = await in_transaction(pool, partial(_follow_some, registry=registry, kind=kind, after=after))
        if not chunk.rows:
            return Followed(kind, seen, changed, unfit)
        seen += len(chunk.rows)
        changed += chunk.changed
        unfit += chunk.unfit
        after = chunk.rows[-1].id


async def _follow_some(conn: AsyncConnection, registry: Registry, kind: str, after: UUID) -> _Chunk:
    values = {"kind": kind, "after": after, "at_most": AT_MOST}
    return await _make_anew(conn, registry, await fetch_all(conn, FIND, values, _Fingerprinted))


async def _make_anew(conn: AsyncConnection, registry: Registry, rows: list[_Fingerprinted]) -> _Chunk:
    changed, unfit = list[tuple[_Fingerprinted, bytes]](), list[UUID]()
    for row in rows:
        try:
            made = fingerprint(row.kind, row.org_id, registry.get(row.kind).parse(row.parameters))
        except Exception:  # noqa: BLE001 - a validator may let out anything, and one schedule must not stop the rest
            unfit.append(row.id)
        else:
            if made != row.fingerprint:
                changed.append((row, made))
    if changed:
        await conn.execute(SET, _columns(changed))
    return _Chunk(rows, len(changed), unfit)


def _columns(changed: Sequence[tuple[_Fingerprinted, bytes]]) -> dict[str, list[Any]]:
    return {
        "ids": [row.id for row, _ in changed],
        "buckets": [row.bucket for row, _ in changed],
        "org_ids": [row.org_id for row, _ in changed],
        "before": [row.fingerprint for row, _ in changed],
        "fingerprints": [made for _, made in changed],
    }
