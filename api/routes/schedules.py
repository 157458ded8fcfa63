"""Schedules: what the caller wants kept fresh. An address takes a schedule's id or the caller's key of it."""

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from psycopg import AsyncConnection

from api.deps import Polled, Process, UserDatabase, Visited
from api.problems import problems
from api.requests import NewScheduleRequest, ScheduleRequest, request_type
from api.schedule_views import (
    BackfillRequest,
    BackfillView,
    PauseRequest,
    PreviewRequest,
    ScheduleChanges,
    Schedules,
    ScheduleView,
    SlotStrip,
)
from api.starting import STARTED, Start, start
from api.views import StartedRun
from shared.db import read_now
from shared.kinds import Registry
from shared.preview import Preview, preview
from shared.queue import NewRun
from shared.schedules import (
    Put,
    Rules,
    backfill,
    delete_schedule,
    edit_schedule,
    find_schedule,
    list_schedules,
    pause_schedule,
    put_schedule,
    read_slots,
    zone_of_user,
)
from shared.wake import Channel

Name = Annotated[str, Path(max_length=100, description="A schedule's id, or the caller's key of it.")]
MISSING = problems(HTTPStatus.NOT_FOUND)
ADDRESS = {"Location": {"description": "Where to read the schedule.", "schema": {"type": "string"}}}


def schedules_router(registry: Registry) -> APIRouter:
    """The routes, whose bodies have a form for each kind of the registry."""
    router = APIRouter(tags=["schedules"])

    async def create(body: NewScheduleRequest, db: Visited, process: Process, response: Response) -> ScheduleView:
        """Add a schedule; 409 when there is one of that key, or when there are as many as one may have."""
        wish = body.wish(f"{body.kind}-{secrets.token_hex(4)}" if body.key is None else body.key)
        rules = Rules.of(process.settings)
        shown, _ = await _answer(db, lambda conn: put_schedule(conn, registry, db.user_id, wish, rules=rules, new=True))
        response.headers["Location"] = f"/api/v1/schedules/{shown.id}"
        return shown

    async def put(
        schedule: Annotated[str, Path(description="The caller's own key of it.")],
        body: ScheduleRequest,
        db: Visited,
        process: Process,
        response: Response,
    ) -> ScheduleView:
        """Make the schedule of that key say this: add it (201), change what differs, or change nothing (200).

        Other parameters move no slot; other times, another zone, pausing and resuming count from now.
        """
        rules = Rules.of(process.settings)
        shown, put = await _answer(
            db, lambda conn: put_schedule(conn, registry, db.user_id, body.wish(schedule), rules=rules)
        )
        if put.created:
            response.status_code = HTTPStatus.CREATED
            response.headers["Location"] = f"/api/v1/schedules/{shown.id}"
        return shown

    create.__annotations__["body"] = request_type(registry, NewScheduleRequest)
    put.__annotations__["body"] = request_type(registry, ScheduleRequest)
    router.post(
        "/schedules",
        status_code=HTTPStatus.CREATED,
        summary="Create a schedule",
        responses={201: {"headers": ADDRESS}, **problems(HTTPStatus.CONFLICT)},
    )(create)
    router.put(
        "/schedules/{schedule}",
        summary="Put a schedule under your own key",
        responses={201: {"model": ScheduleView, "headers": ADDRESS}, **problems(HTTPStatus.CONFLICT)},
    )(put)
    router.include_router(plain)
    return router


plain = APIRouter(prefix="/schedules")


@plain.get("", summary="List schedules")
async def read_schedules(db: Visited) -> Schedules:
    """The caller's schedules, each with its last success and its next slot."""
    schedules = await db.transact(lambda conn: list_schedules(conn, db.user_id))
    return Schedules(schedules=[ScheduleView.model_validate(one) for one in schedules])


@plain.post("/preview", summary="Preview times")
async def preview_times(body: PreviewRequest, db: Polled, process: Process) -> Preview:
    """What cron expressions mean: a sentence, the next slots, and what to look out for. For a form while typing."""

    async def where_and_when(conn: AsyncConnection) -> tuple[str, Any]:
        return await zone_of_user(conn, db.user_id, body.zone, Rules.of(process.settings)), await read_now(conn)

    zone, now = await db.transact(where_and_when)
    return preview(body.crons, zone, now=now, min_interval=Rules.of(process.settings).min_interval)


@plain.get("/{schedule}", summary="Read a schedule", responses=MISSING)
async def read_schedule(schedule: Name, db: Visited) -> ScheduleView:
    """One schedule, with its last success and its next slot."""
    return ScheduleView.model_validate(await db.transact(lambda conn: find_schedule(conn, db.user_id, schedule)))


@plain.patch("/{schedule}", summary="Edit a schedule", responses=MISSING)
async def edit(schedule: Name, body: ScheduleChanges, db: Visited, process: Process) -> ScheduleView:
    """Change what is named in the body and leave the rest."""
    changes = {field: getattr(body, field) for field in body.model_fields_set}
    return await _edit(db, process, schedule, changes)


@plain.delete("/{schedule}", summary="Delete a schedule", status_code=HTTPStatus.NO_CONTENT, responses=MISSING)
async def delete(schedule: Name, db: Visited) -> None:
    """Delete it. Its runs stay, and one that is live goes on."""
    await db.transact(lambda conn: delete_schedule(conn, db.user_id, schedule))


@plain.post("/{schedule}/pause", summary="Pause a schedule", responses=MISSING)
async def pause(schedule: Name, db: Visited, process: Process, body: PauseRequest | None = None) -> ScheduleView:
    """No slot becomes a run until it is resumed; `note` says why."""
    note, rules = body.note if body else None, Rules.of(process.settings)
    shown, _ = await _answer(
        db, lambda conn: pause_schedule(conn, process.registry, db.user_id, schedule, note, rules=rules)
    )
    return shown


@plain.post("/{schedule}/resume", summary="Resume a schedule", responses=MISSING)
async def resume(schedule: Name, db: Visited, process: Process) -> ScheduleView:
    """Slots count from now; those of the pause are not caught up."""
    return await _edit(db, process, schedule, {"enabled": True})


@plain.post(
    "/{schedule}/run",
    summary="Run a schedule now",
    status_code=HTTPStatus.ACCEPTED,
    responses={**STARTED, **MISSING},
)
async def run_schedule(
    schedule: Name, db: Visited, process: Process, response: Response, *, fresh: bool = False
) -> StartedRun:
    """Start a run of what the schedule runs, as POST /runs does. Its slots stay where they are, paused or not."""
    found = await db.transact(lambda conn: find_schedule(conn, db.user_id, schedule))
    kind = process.registry.get(found.kind)
    parameters = kind.parse(found.parameters)
    new = NewRun.of(
        kind, parameters, user_id=db.user_id, org_id=db.claims.org_id, subject=found.subject, schedule_id=found.id
    )
    return await start(db, Start(new, kind, fresh), response)


@plain.get("/{schedule}/slots", summary="Read a schedule's last slots", responses=MISSING)
async def read_strip(schedule: Name, db: Polled, process: Process) -> SlotStrip:
    """What became of the last 60 slots, oldest first: a run, or the reason why there is none."""
    timed, slots = await db.transact(lambda conn: read_slots(conn, db.user_id, schedule, keep=process.settings.keep))
    return SlotStrip.of(timed.zone, slots)


@plain.post("/{schedule}/backfill", summary="Backfill a schedule", responses=MISSING)
async def backfill_schedule(schedule: Name, body: BackfillRequest, db: Visited, process: Process) -> BackfillView:
    """Run the slots of the past that became no run, behind everything else; `dry_run` only counts them."""
    filled = await db.transact(
        lambda conn: backfill(
            conn,
            process.registry,
            db.user_id,
            schedule,
            body.start,
            body.end,
            keep=process.settings.keep,
            dry_run=body.dry_run,
        )
    )
    if filled.runs and not body.dry_run:
        process.waker.wake(Channel.QUEUE)
    return BackfillView.model_validate(filled)


async def _edit(db: UserDatabase, process: Process, schedule: str, changes: dict[str, Any]) -> ScheduleView:
    rules = Rules.of(process.settings)
    shown, _ = await _answer(
        db, lambda conn: edit_schedule(conn, process.registry, db.user_id, schedule, changes, rules=rules)
    )
    return shown


async def _answer(db: UserDatabase, change: Callable[[AsyncConnection], Awaitable[Put]]) -> tuple[ScheduleView, Put]:
    async def change_and_read(conn: AsyncConnection) -> tuple[ScheduleView, Put]:
        put = await change(conn)
        return ScheduleView.model_validate(await find_schedule(conn, db.user_id, str(put.id))), put

    return await db.transact(change_and_read)
