"""The application: its layers, its routes, and what it holds from start to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import psycopg
import structlog
from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse

from api.auth import require_secret
from api.bodies import Bodies
from api.deps import OutsideCron, Services
from api.guard import Guard
from api.openapi import describe
from api.problems import handle_errors, problems
from api.requests import tags
from api.routes import health, kinds, me, postings, runs
from api.routes.cron import cron_router
from api.routes.schedules import schedules_router
from api.routes.start import start_router
from shared.db import in_transaction, open_pool
from shared.errors import DatabaseError
from shared.kinds import Registry
from shared.partitions import make_partitions
from shared.settings import Settings
from shared.wake import Waker

log = structlog.get_logger()

PREFIX = "/api/v1"
EVERYWHERE = problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


def create_app(settings: Settings, url: str, registry: Registry, outside: OutsideCron | None = None) -> FastAPI:
    """The API over the database at `url`; raises `SettingsError` without a secret to check tokens with.

    `outside` is what a host's own cron may have done here, if anything.
    Its lifespan raises `DatabaseError` when Postgres can't be reached.
    """
    secret = require_secret(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_pool(url, "api", size=settings.api_pool_size) as pool:
            services = Services(settings, url, registry, pool, Waker(pool, enabled=settings.foxtrot_notify))
            await _make_partitions(services)
            app.state.services = services
            yield
            await services.waker.close()

    app = FastAPI(title="Foxtrot", lifespan=lifespan, redirect_slashes=False, redoc_url=None)
    app.state.secret = secret
    app.add_middleware(Bodies, limit=settings.max_body_bytes)
    app.add_middleware(Guard, deadline=settings.request_timeout_seconds)  # added last, so it is the outermost
    handle_errors(app, tags(registry))
    _add_routes(app, registry)
    app.include_router(cron_router(settings, outside), prefix=PREFIX, responses=EVERYWHERE)
    describe(app)
    return app


def _add_routes(app: FastAPI, registry: Registry) -> None:
    mine = APIRouter(prefix=PREFIX, responses=EVERYWHERE)
    routers = (
        start_router(registry),
        runs.router,
        schedules_router(registry),
        postings.router,
        kinds.router,
        me.router,
    )
    for router in routers:
        mine.include_router(router)
    app.include_router(mine)
    app.include_router(health.router)

    @app.get("/", include_in_schema=False)
    async def index() -> RedirectResponse:
        return RedirectResponse("/docs")


async def _make_partitions(services: Services) -> None:
    """Room for the coming weeks. Not being able to is no reason not to start: readiness says what is missing."""
    try:
        await in_transaction(services.pool, lambda conn: make_partitions(conn, services.settings.keep))
    except (psycopg.Error, DatabaseError) as error:
        log.warning("partitions_not_made", error=str(error))
