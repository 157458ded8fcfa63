from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.kinds import Kind
from shared.models import Skip
from shared.queue import expire
from tests.clock import Clock
from tests.shared.queue.support import DEMO, async_test
from tests.support import connect, insert, make_run, make_schedule, make_timetable, make_user

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WITHIN = timedelta(minutes=2)
KINDS: dict[str, Kind[Any, Any]] = {"demo": Kind(**vars(DEMO) | {"start_within": WITHIN})}


async def status_of(conn: Any, run: Any) -> tuple[str, str | None]:
    query = "select status, error ->> 'message' from foxtrot.run_status where id = %s"
    found: tuple[str, str | None] = await (await conn.execute(query, [run.id])).fetchone()
    return found


@async_test
async def test_a_manual_run_that_nobody_begins_in_time_fails_and_says_so(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        run = await make_run(conn, await make_user(conn))
        await conn.commit()
        clock.advance(WITHIN)
        assert await expire(conn, KINDS) == 0
        await conn.commit()
        clock.advance(timedelta(seconds=1))
        assert await expire(conn, KINDS) == 1
        assert await status_of(conn, run) == ("failed", "No worker was free within 120 s.")
        assert await expire(conn, KINDS) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"source": "cron"},
        {"source": "cron", "lane": 0},  # promoted
        {"attempt": 1, "waiting": "retry"},
        {"attempt": 2},  # running
        {"kind": "other"},
        {"available_at": NOON + timedelta(hours=1)},
    ],
    ids=str,
)
@async_test
async def test_what_a_schedule_asked_for_and_what_was_begun_waits_on(clock: Clock, values: dict[str, Any]) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        run = await make_run(
            conn, await make_user(conn), "running" if values.get("attempt") == 2 else "pending", **values
        )
        await conn.commit()
        clock.advance(2 * WITHIN)
        assert await expire(conn, KINDS) == 0
        assert (await status_of(conn, run))[0] in {"pending", "running"}


@async_test
async def test_a_slot_that_it_had_covered_becomes_a_run(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        schedule = await make_schedule(conn, user, await make_timetable(conn))
        run = await make_run(conn, user, fingerprint=schedule.fingerprint)
        covered = {"schedule_id": schedule.id, "scheduled_for": NOON, "bucket": user.bucket, "user_id": user.id}
        await insert(conn, Skip, covered | {"reason": "overlap", "run_id": run.id})
        await conn.commit()
        clock.advance(2 * WITHIN)
        assert await expire(conn, KINDS) == 1
        query = "select source, status, scheduled_for from foxtrot.run_status where id <> %s"
        assert await (await conn.execute(query, [run.id])).fetchall() == [("cron", "pending", NOON)]


@async_test
async def test_kinds_without_a_limit_ask_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        await make_run(conn, await make_user(conn), available_at=NOON - timedelta(days=900))
        assert await expire(conn, {"demo": DEMO}) == 0
