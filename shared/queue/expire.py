"""Expire: a manual run that nobody began in time fails, instead of coming as a surprise much later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql
from shared.kinds import Kind
from shared.queue.cancel import UNCOVER

EXPIRE = load_sql(__file__, "expire")
AT_MOST = 1000


@dataclass(frozen=True)
class _Expired:
    run_id: UUID
    kind: str


async def expire(conn: AsyncConnection, kinds: Mapping[str, Kind[Any, Any]]) -> int:
    """Fail the manual runs that have waited longer than their kind's `start_within` for a first attempt; how many.

    A slot that such a run had covered becomes a run of its own. Cron and backfill runs never expire by waiting. At most
    1,000 of a kind a call; every worker and every scheduler calls this.
    """
    limited = [(kind, kind.start_within) for kind in kinds.values() if kind.start_within]
    if not limited:
        return 0
    values = {
        "kinds": [kind.name for kind, _ in limited],
        "withins": [within for _, within in limited],
        "retentions": [kind.retention.failed for kind, _ in limited],
        "at_most": AT_MOST,
    }
    expired = await fetch_all(conn, EXPIRE, values, _Expired)
    for one in expired:
        attempts = kinds[one.kind].retry.attempts
        await conn.execute(UNCOVER, {"run_id": one.run_id, "max_attempts": attempts})
    return len(expired)
