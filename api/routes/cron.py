"""The outside cron: where no scheduler process can run, the host's own cron calls here instead."""

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from starlette.exceptions import HTTPException

from api.deps import OutsideCron, Process
from api.guard import extend_deadline
from api.problems import problems
from shared.errors import InvalidTokenError, NotFoundError
from shared.settings import Settings

log = structlog.get_logger()

TICK_SECONDS = 4.0  # begins nothing new after that, so that the answer is there within 5
SLOW_SECONDS = 30.0  # what a slow statement, or a run in hand at the end of the work, may add
LONGEST_WORK = 60
SECONDS = re.compile(r"([1-9][0-9]?)s?")

bearer = HTTPBearer(auto_error=False, scheme_name="CronSecret", description="`CRON_SECRET`, as Vercel's cron sends it.")


def _seconds(text: str) -> int:
    match = SECONDS.fullmatch(text)
    if match is None or int(match[1]) > LONGEST_WORK:
        raise ValueError(f"write the seconds, from 1s to {LONGEST_WORK}s, such as 25s")
    return int(match[1])


Work = Annotated[
    int | None,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": f"^{SECONDS.pattern}$", "examples": ["25s"]}),
    Query(description=f"Also claim and work off runs for so long, at most {LONGEST_WORK}s."),
]


class Ticked(BaseModel):
    """What a tick came to."""

    ticks: int = Field(description="Slots of timetables that came due.")
    runs: int = Field(description="Runs that they became.")
    skips: int = Field(description="Slots of schedules that became no run, because one that is live covers them.")
    missed: int = Field(description="Slots of schedules taken up too late for their `catch_up`.")
    given_back: int = Field(description="Runs of dead workers that are pending again.")
    failed: int = Field(description="Runs that failed because they were given back too often.")
    expired: int = Field(description="Manual runs that no worker began within their kind's `start_within`.")
    more: bool = Field(description="The time was over before the work: tick again, or wait for the next.")
    finished: int | None = Field(default=None, description="With `work`: runs that it brought to their end.")


class Bucket:
    """Lets `size` through at once, then one every `every` seconds."""

    def __init__(self, size: int, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._every = every
        self._clock = clock
        self._full_at = clock()

    def wait(self) -> float:
        """Take one: 0; or, when there is none, the seconds until there is."""
        now = self._clock()
        full_at = max(self._full_at, now) + self._every
        over = full_at - now - self._size * self._every
        if over <= 0:
            self._full_at = full_at
        return max(0.0, over)


class Gate:
    """Who gets in: with either secret, one at a time, and not too often.

    Wrong secrets have a limit of their own, so that guessing fills no log and keeps nobody with the right one out.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        both = (settings.cron_secret, settings.cron_secret_previous)
        self._secrets = [secret.get_secret_value().encode() for secret in both if secret and settings.cron_secret]
        self._clock = clock
        self._ticks = Bucket(10, every=2, clock=clock)
        self._wrong = Bucket(10, every=6, clock=clock)
        self._busy_until: float | None = None

    def check(self, credentials: HTTPAuthorizationCredentials | None) -> None:
        """Raises what is answered to somebody without the secret."""
        if not self._secrets:
            raise NotFoundError(
                "The outside cron is off.",
                hint="Set CRON_SECRET to 16 random characters or more, and let your cron send it as a bearer token.",
            )
        if credentials is None:
            raise HTTPException(401, "Send Authorization: Bearer <CRON_SECRET>.", {"WWW-Authenticate": "Bearer"})
        given = credentials.credentials.encode()
        matches = [secrets.compare_digest(given, each) for each in self._secrets]  # always both
        if not any(matches):
            _refuse_if(self._wrong.wait(), "Too many wrong secrets.")
            log.warning("cron_secret_wrong")
            raise InvalidTokenError("This is not the CRON_SECRET.")

    @contextmanager
    def one_at_a_time(self, seconds: float) -> Iterator[None]:
        """Let one tick in, which will take about so many seconds; raises a 429 when it can't be now."""
        now = self._clock()
        if self._busy_until is not None:
            _refuse_if(max(1.0, self._busy_until - now), "Another tick is at work in this process.")
        _refuse_if(self._ticks.wait(), "Too many ticks.")
        self._busy_until = now + seconds
        try:
            yield
        finally:
            self._busy_until = None


def _refuse_if(seconds: float, why: str) -> None:
    if seconds:
        raise HTTPException(429, why, {"Retry-After": str(math.ceil(seconds))})


def cron_router(settings: Settings, outside: OutsideCron | None) -> APIRouter:
    """The route, which is off without `outside` or a secret."""
    router = APIRouter(tags=["cron"])
    gate = Gate(settings if outside else settings.model_copy(update={"cron_secret": None}))

    async def enter(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        gate.check(credentials)

    async def tick(request: Request, process: Process, work: Work = None) -> Ticked:
        """Do for 5 s what a scheduler process does: make the runs that are due, give back those of dead workers.

        For hosts with a cron of their own. However many ticks and schedulers there are at once, each slot is one run.
        With `work` a worker then claims and executes runs for that long; what it still has in hand at the end goes
        back into the queue.
        """
        assert outside is not None  # noqa: S101 - or the gate was shut
        with gate.one_at_a_time(TICK_SECONDS + (work or 0)):
            extend_deadline(request, TICK_SECONDS + (work or 0) + SLOW_SECONDS)
            ticked = Ticked.model_validate(await outside.tick(process.pool, TICK_SECONDS))
            if work:
                ticked.finished = await outside.work(work, process.stopping)
            return ticked

    for method in (router.get, router.post):
        method(
            "/cron/tick",
            dependencies=[Depends(enter)],
            summary="Tick",
            response_description="What it came to.",
            responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
        )(tick)
    return router
