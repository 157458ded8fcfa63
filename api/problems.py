"""Problems: every error leaves the API as RFC 9457 `application/problem+json`, and none of them shows our insides."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from shared.errors import (
    ConflictError,
    DatabaseError,
    FoxtrotError,
    InvalidInputError,
    InvalidTokenError,
    NotFoundError,
)

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
DATABASE_RETRY_AFTER = "5"
SHOWN = 100  # characters of what the caller sent that are worth repeating
UNKNOWN_TAG = "union_tag_invalid"
MISSING_TAG = "union_tag_not_found"
WORDS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address; /docs lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method; the header Allow lists what it takes.",
}


class FieldError(BaseModel):
    """One thing that is wrong with what was sent."""

    field: str = Field(examples=["parameters.query"])
    message: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it; `errors` names each wrong field."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["parameters.query: Field required"])
    hint: str | None = None
    errors: list[FieldError] | None = None


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    hint: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response that says so."""
    body = Problem(title=status.phrase, status=status, detail=detail, hint=hint, errors=list(errors) or None)
    content = body.model_dump_json(exclude_none=True)
    return Response(content, status, headers, MEDIA_TYPE)


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with problems of these statuses."""
    return {int(status): {"model": Problem, "description": status.phrase} for status in statuses}


def handle_errors(app: FastAPI, tags: frozenset[str]) -> None:
    """Turn what routes raise into problems; `tags` are the names that pydantic adds to the path of a union's member."""

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        return from_validation(error, tags)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(FoxtrotError, _from_foxtrot)
    app.add_exception_handler(HTTPException, _from_http)
    app.add_exception_handler(psycopg.OperationalError, _from_database)


def from_input(error: InvalidInputError) -> Response:
    """A 422 that names the field."""
    errors = [FieldError(field=error.field[:SHOWN], message=error.message)] if error.field else []
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, error.message, hint=error.hint, errors=errors)


def from_validation(error: RequestValidationError, tags: frozenset[str]) -> Response:
    """A 422 that names every wrong field; its detail is the first."""
    errors = [_field_error(fault, tags) for fault in error.errors()]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{errors[0].field}: {errors[0].message}", errors=errors)


def _field_error(fault: Mapping[str, Any], tags: frozenset[str]) -> FieldError:
    if fault["type"] == UNKNOWN_TAG:
        known = ", ".join(sorted(tags))
        return FieldError(
            field="kind", message=f"kind {fault['ctx']['tag'][:SHOWN]!r} is unknown; known kinds: {known}"
        )
    if fault["type"] == MISSING_TAG:
        return FieldError(field="kind", message="Field required")
    place, *path = (str(part) for part in fault["loc"])
    if path and path[0] in tags:
        del path[0]
    return FieldError(field=".".join(path)[:SHOWN] or place, message=fault["msg"].removeprefix("Value error, "))


async def _from_foxtrot(request: Request, error: Exception) -> Response:
    match error:
        case InvalidInputError():
            return from_input(error)
        case NotFoundError():
            return problem(HTTPStatus.NOT_FOUND, error.message, hint=error.hint)
        case ConflictError():
            return problem(HTTPStatus.CONFLICT, error.message, hint=error.hint)
        case InvalidTokenError():
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return problem(HTTPStatus.UNAUTHORIZED, error.message, hint=error.hint, headers=headers)
        case DatabaseError():
            return await _from_database(request, error)
        case _:
            raise error


async def _from_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    detail = WORDS.get(error.status_code, error.detail)
    return problem(HTTPStatus(error.status_code), detail, headers=error.headers)


async def _from_database(_request: Request, error: Exception) -> Response:
    log.warning("database_unavailable", error=str(error))
    headers = {"Retry-After": DATABASE_RETRY_AFTER}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer at the moment.", headers=headers)
