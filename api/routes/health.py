"""Health: whether the process lives, and whether it can serve."""

import asyncio
from http import HTTPStatus

import psycopg
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

import migrations
from api.deps import Process, Services
from api.problems import problem, problems
from shared.cron import tzdata_version
from shared.db import in_transaction
from shared.errors import DatabaseError
from shared.partitions import FEWEST_WEEKS_AHEAD, weeks_ahead

PATIENCE = 3.0

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"
    tzdata: str = Field(default_factory=tzdata_version, examples=["2026f"])


@router.get("/healthz", summary="Alive")
async def healthz() -> Health:
    """The process answers. Nothing else is asked, so that an outage of Postgres restarts nobody."""
    return Health()


@router.get("/readyz", summary="Ready", response_model=Health, responses=problems(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(process: Process) -> Health | Response:
    """Postgres answers, is migrated to this version, and has room for the runs of two weeks; else what is missing."""
    try:
        fault = await find_fault(process)
    except (psycopg.Error, DatabaseError):
        fault = "Postgres does not answer."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, fault, headers={"Retry-After": "5"}) if fault else Health()


async def find_fault(process: Services) -> str | None:
    """What keeps this process from serving; None when nothing does. Raises `DatabaseError` without Postgres."""
    await in_transaction(process.pool, lambda conn: conn.execute("select 1"), deadline=PATIENCE)
    if not process.migrated:
        missing = await asyncio.to_thread(migrations.pending, process.url)
        if missing:
            return f"The database is not migrated: {', '.join(missing)} missing. Run `foxtrot migrate`."
        process.migrated = True
    weeks = await in_transaction(process.pool, weeks_ahead, deadline=PATIENCE)
    if weeks < FEWEST_WEEKS_AHEAD:
        return f"Runs have partitions for {weeks} weeks ahead, fewer than {FEWEST_WEEKS_AHEAD}. Run `foxtrot migrate`."
    return None
