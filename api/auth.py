"""Auth: who a request speaks for, and whom this process has lately written down."""

import time
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from shared.errors import SettingsError
from shared.settings import Settings
from shared.tokens import Claims, verify_token

HOUR = 3600.0
MOST_VISITS = 10_000

bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`foxtrot token --user NAME` prints one.")


def require_secret(settings: Settings) -> str:
    """The secret that tokens are checked with; raises `SettingsError` when there is none."""
    if settings.jwt_secret is None:
        raise SettingsError(
            "JWT_SECRET is not set: the API can't tell who is asking.", hint="Set it to 32 random characters or more."
        )
    return settings.jwt_secret.get_secret_value()


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Claims:
    """Who the bearer token speaks for; a 401 when there is none, `InvalidTokenError` when it is worth nothing."""
    if credentials is None:
        raise HTTPException(401, "Send a token, as Authorization: Bearer <token>.", {"WWW-Authenticate": "Bearer"})
    return verify_token(request.app.state.secret, credentials.credentials)


Caller = Annotated[Claims, Depends(caller)]


class Visits:
    """What this process has written about users within the last hour, so that it isn't a write per request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[tuple[Claims, bool], float] = {}
        self._orgs: dict[UUID, str | None] = {}

    def is_new(self, claims: Claims, *, seen: bool) -> bool:
        """Whether there is anything to write: a new user, new claims or another org, or a user not seen for an hour."""
        if self._orgs.get(claims.user_id, claims.org_id) != claims.org_id:
            return True  # they went to another org and came back: what was written before has been written over
        return self._clock() - self._at.get((claims, seen), -HOUR) >= HOUR

    def remember(self, claims: Claims, *, seen: bool) -> None:
        """It is written. A full memory is emptied; the requests of the next hour fill it again."""
        if len(self._at) >= MOST_VISITS:
            self._at.clear()
            self._orgs.clear()
        self._at[claims, seen] = self._clock()
        self._orgs[claims.user_id] = claims.org_id
