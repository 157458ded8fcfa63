"""POST /runs: Run now."""

from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Response

from api.deps import Process, Visited
from api.problems import problems
from api.requests import RunRequest, request_type
from api.starting import STARTED, Start, start
from api.views import StartedRun
from shared.kinds import Registry
from shared.queue import NewRun
from shared.schedules import Rules, daily, keep_search


def start_router(registry: Registry) -> APIRouter:
    """The route, whose body has a form for each kind of the registry."""
    router = APIRouter(tags=["runs"])

    async def start_run(body: RunRequest, db: Visited, process: Process, response: Response) -> StartedRun:
        """Start a run, or be given the run that already does the same work.

        The same user, kind and parameters while a run is live is that run: `created` is false, and a pending one moves
        ahead of every refresh (`promoted`). A kind may answer with a finished success that is young enough (200,
        `reused`), unless `fresh` is true. With `keep` these are also the parameters of the caller's schedule
        `kept:<kind>` from now on; a new one refreshes several times a day in the caller's zone.
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
        settings = process.settings
        keep = partial(
            keep_search,
            user_id=db.user_id,
            kind=kind,
            parameters=body.parameters,
            crons=daily(settings.refresh_times),
            rules=Rules.of(settings),
            subject=body.subject,
        )
        return await start(db, Start(new, kind, body.fresh, keep if body.keep else None), response)

    start_run.__annotations__["body"] = request_type(registry, RunRequest)
    router.post(
        "/runs",
        status_code=HTTPStatus.ACCEPTED,
        summary="Run now",
        response_description="It will run, or already does.",
        responses={
            **STARTED,
            **problems(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        },
    )(start_run)
    return router
