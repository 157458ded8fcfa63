"""POST /runs: Run now."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Response
from psycopg import AsyncConnection

from api.deps import Process, Visited
from api.problems import problems
from api.requests import RunRequest, request_type
from api.views import StartedRun, retry_after
from shared.errors import NotFoundError
from shared.kinds import Registry
from shared.queue import Enqueued, NewRun, enqueue, find_reusable
from shared.runs import find_run
from shared.wake import Channel

LOCATION = {"Location": {"description": "Where to read the run.", "schema": {"type": "string"}}}


def start_router(registry: Registry) -> APIRouter:
    """The route, whose body has a form for each kind of the registry."""
    router = APIRouter(tags=["runs"])

    async def start_run(body: RunRequest, db: Visited, process: Process, response: Response) -> StartedRun:
        """Start a run, or be given the run that already does the same work.

        The same user, kind and parameters while a run is live is that run: `created` is false, and a pending one moves
        ahead of every refresh (`promoted`). A kind may answer with a finished success that is young enough (200,
        `reused`), unless `fresh` is true.
        """
        kind = registry.get(body.kind)
        claims = db.claims
        new = NewRun.of(
            kind,
            body.parameters,
            user_id=claims.user_id,
            org_id=claims.org_id,
            subject=body.subject,
            client_context=body.client_context,
        )

        async def settle(conn: AsyncConnection) -> UUID | Enqueued:
            reusable = None if body.fresh else await find_reusable(conn, new, kind)
            return reusable or await enqueue(conn, new)

        settled = await db.transact(settle)
        enqueued = settled if isinstance(settled, Enqueued) else None
        if enqueued:
            process.waker.wake(Channel.QUEUE, kind.name)
        run_id = settled.run_id if isinstance(settled, Enqueued) else settled
        # In a statement of its own: the row may be newer than the snapshot that enqueue had.
        run = await db.transact(lambda conn: find_run(conn, run_id, db.user_id))
        if run is None:
            raise NotFoundError("No such run.")
        response.status_code = HTTPStatus.ACCEPTED if enqueued else HTTPStatus.OK
        response.headers.update({"Location": f"/api/v1/runs/{run.id}", **retry_after(run)})
        return StartedRun.of(run, enqueued)

    start_run.__annotations__["body"] = request_type(registry)
    router.post(
        "/runs",
        status_code=HTTPStatus.ACCEPTED,
        summary="Run now",
        response_description="It will run, or already does.",
        responses={
            202: {"headers": LOCATION},
            200: {"model": StartedRun, "description": "A finished run stands in.", "headers": LOCATION},
            **problems(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        },
    )(start_run)
    return router
