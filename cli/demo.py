"""The demo: three users in three zones whose job searches are kept fresh from sample boards on this machine."""

import asyncio
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from shared.db import connect, read_now
from shared.kinds import load_registry
from shared.schedules import Rules, Wish, put_schedule
from shared.settings import Settings
from shared.tokens import user_id_of
from shared.users import upsert_user

KIND = "job_search"

PEOPLE: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "ada": ("Europe/London", {"query": "engineer"}, ["0 8 * * *", "45 16 * * *"]),
    "grace": ("America/New_York", {"query": "data", "remote": True}, ["0 8 * * *", "0 14 * * *"]),
    "kenji": ("Asia/Tokyo", {"query": "designer OR product"}, ["30 7 * * *"]),
}
FIRST = "ada"


def seed(settings: Settings, url: str) -> None:
    """Make the users and their schedules, unless they are there; Ada also gets one due within the minute."""
    asyncio.run(_seed(settings, url))


async def _seed(settings: Settings, url: str) -> None:
    registry = load_registry(["kinds"])
    async with await connect(url, "demo", autocommit=False) as conn:
        for name, (zone, parameters, crons) in PEOPLE.items():
            user_id = user_id_of(name)
            await upsert_user(conn, user_id, email=f"{name}@example.org", zone=zone)
            timetables = {"daily": crons} | ({"soon": [await _next_minute(conn, zone)]} if name == FIRST else {})
            for key, times in timetables.items():
                wish = Wish(key, KIND, parameters, times)
                await put_schedule(conn, registry, user_id, wish, rules=Rules.of(settings))


async def _next_minute(conn: AsyncConnection, zone: str) -> str:
    minute = ((await read_now(conn)) + timedelta(seconds=65)).replace(second=0)
    local = minute.astimezone(ZoneInfo(zone))
    return f"{local.minute} {local.hour} * * *"


def introduction() -> str:
    """What to try first, as text for a terminal."""
    people = "\n".join(
        f"  {name:7} {zone:18} {' '.join(f'{key}={value}' for key, value in parameters.items())}"
        for name, (zone, parameters, _) in PEOPLE.items()
    )
    return (
        f"\nThree people keep a job search here:\n{people}\n"
        f"{FIRST.capitalize()}'s next refresh is due within the minute. In another terminal:\n"
        "  source .venv/bin/activate\n"
        "  foxtrot schedules\n"
        "  foxtrot run job_search --query engineer --watch\n"
        f"  foxtrot runs --user {FIRST}\n"
    )
