"""Requests: what POST /runs takes, one model per kind, told apart by the field `kind`."""

import json
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, field_validator

from shared.kinds import Kind, Registry

MAX_CONTEXT_BYTES = 4096


class RunRequest(BaseModel):
    """What every kind's request has; `kind` and `parameters` are added per kind."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    parameters: BaseModel
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        default=None, description="What the run is about, for limits and filters; some kinds take it from parameters."
    )
    fresh: bool = Field(default=False, description="True: don't answer with a run that has already finished.")
    client_context: dict[str, Any] | None = Field(
        default=None, description="Anything the client wants to find in the run again, 4 kB of JSON at most."
    )

    @field_validator("client_context")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_CONTEXT_BYTES:
            raise ValueError(f"must not be longer than {MAX_CONTEXT_BYTES} bytes of JSON")
        return value


def request_type(registry: Registry) -> Any:
    """The type of the body: the request of the one kind there is, or the union of all of them by `kind`."""
    models = [_request_of(kind) for kind in registry.kinds.values()]
    if len(models) == 1:
        return models[0]
    return Annotated[reduce(or_, models), Field(discriminator="kind")]


def tags(registry: Registry) -> frozenset[str]:
    """The names that pydantic puts into the path of an error inside that union."""
    return frozenset(registry.kinds) if len(registry.kinds) > 1 else frozenset()


def _request_of(kind: Kind[Any, Any]) -> type[RunRequest]:
    name = "".join(part.capitalize() for part in kind.name.split("_")) + "Request"
    fields: dict[str, Any] = {"kind": (Literal[kind.name], ...), "parameters": (kind.parameters, ...)}
    return create_model(name, __base__=RunRequest, __doc__=kind.title, **fields)
