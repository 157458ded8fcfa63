"""Tokens: who a request speaks for, as an HS256 JWT (RFC 7519) signed with the installation's secret."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID, uuid5

import jwt
from pydantic import AliasChoices, BaseModel, Field, StringConstraints, ValidationError

from shared.clock import utc_now
from shared.cron import check_zone
from shared.errors import InvalidTokenError, InvalidZoneError

ALGORITHM = "HS256"
LEEWAY = timedelta(seconds=30)
LIFETIME = timedelta(hours=12)
# Names that no issuer vouches for become ids in this namespace, issuers themselves too.
NAMESPACE = UUID("8c0a5f0e-5b1f-4f52-9d33-1d0f6a2c7e41")

# Postgres text holds no U+0000.
Text = Annotated[str, StringConstraints(min_length=1, max_length=320, pattern=r"^[^\x00]+\z", strict=True)]


class _Payload(BaseModel):
    sub: Text
    iss: Text | None = None
    org: Text | None = Field(default=None, validation_alias=AliasChoices("org", "org_id"))
    email: Text | None = None
    zone: Text | None = None


@dataclass(frozen=True)
class Claims:
    """Who a token speaks for. There is no role here: a token can't make an administrator."""

    user_id: UUID
    org_id: str | None = None
    email: str | None = None
    zone: str | None = None


def user_id_of(sub: str, issuer: str | None = None) -> UUID:
    """The user's id: `sub` itself when it is a UUID, else its UUID version 5 among the names of its issuer."""
    try:
        as_uuid = UUID(sub)
    except ValueError:
        return uuid5(uuid5(NAMESPACE, issuer) if issuer else NAMESPACE, sub)
    return as_uuid


def issue_token(
    secret: str,
    sub: str,
    *,
    org_id: str | None = None,
    email: str | None = None,
    zone: str | None = None,
    lifetime: timedelta = LIFETIME,
) -> str:
    """A token for `sub`, a user's UUID or any name, that ends after `lifetime`."""
    now = utc_now()
    claims = {"sub": sub, "org": org_id, "email": email, "zone": zone, "iat": now, "exp": now + lifetime}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, ALGORITHM)


def verify_token(secret: str, token: str) -> Claims:
    """Who the token speaks for; raises `InvalidTokenError` when it is forged, ended or malformed.

    HS256 and an `exp` are required, clocks may differ by 30 s, an audience is not looked at. A zone that tzdata does
    not list is left out: it is a wish, not a proof.
    """
    try:
        raw: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            leeway=LEEWAY,
            options={"require": ["exp", "sub"], "verify_aud": False},
        )
        payload = _Payload.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidTokenError(f"claim {first['loc'][0]}: {first['msg']}") from error
    except (jwt.InvalidTokenError, OverflowError, RecursionError) as error:
        raise InvalidTokenError(str(error)) from error
    return Claims(user_id_of(payload.sub, payload.iss), payload.org, payload.email, _known(payload.zone))


def _known(zone: str | None) -> str | None:
    try:
        return zone and check_zone(zone)
    except InvalidZoneError:
        return None
