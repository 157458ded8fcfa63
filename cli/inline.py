"""Running a handler in the foreground: nothing is recorded, a breakpoint stops in it, and an error shows its trace."""

import traceback
from typing import Any
from uuid import UUID

import httpx
import typer
from pydantic import BaseModel

from cli.local import database_url
from cli.running import console
from shared.errors import DatabaseError
from shared.kinds import Kind, Progress, Snooze
from shared.settings import Settings
from shared.testing import TrialPorts, try_handler

FAILED = 1


async def run_inline(settings: Settings, kind: Kind[Any, Any], parameters: BaseModel, user_id: UUID) -> None:
    """Make one attempt here and print what it says and returns; exits 1 when it fails."""
    async with httpx.AsyncClient(timeout=30) as http:
        ports = TrialPorts(http, _database_if_any(settings), on_progress=_print)
        try:
            returned = await try_handler(kind, parameters, ports, user_id=user_id)
        except Exception:  # noqa: BLE001 - whatever it is, its author wants to see it
            traceback.print_exc()
            raise typer.Exit(FAILED) from None
    if isinstance(returned, Snooze):
        console.print(f"put off until {returned.until.isoformat()}: {returned.why}", markup=False)
    else:
        console.print_json(returned.model_dump_json())


def _database_if_any(settings: Settings) -> str | None:
    try:
        return database_url(settings)
    except DatabaseError:
        return None


def _print(progress: Progress) -> None:
    words = (f"{name}={value}" for name, value in progress.model_dump(exclude_none=True).items())
    console.print(" ".join(words), style="dim", markup=False, highlight=False)
