"""Requests: what starts a run and what makes a schedule, one model per kind, told apart by the field `kind`."""

import json
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, field_validator

from shared.kinds import Kind, Registry
from shared.schedules import USER_ZONE, CatchUp, Wish

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
    keep: bool = Field(
        default=False, description="True: keep this search fresh from now on, instead of what was kept of this kind."
    )
    client_context: dict[str, Any] | None = Field(
        default=None, description="Anything the client wants to find in the run again, 4 kB of JSON at most."
    )

    @field_validator("client_context")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_CONTEXT_BYTES:
            raise ValueError(f"must not be longer than {MAX_CONTEXT_BYTES} bytes of JSON")
        return value


class ScheduleRequest(BaseModel):
    """What every kind's schedule has; `kind` and `parameters` are added per kind."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    parameters: BaseModel
    crons: list[str] = Field(
        examples=[["0 8 * * MON-FRI", "45 16 * * *"]], description="1 to 10 cron expressions; a slot at each of them."
    )
    zone: str = Field(default=USER_ZONE, description="The name of a zone, or `user` for wherever the user is.")
    spread_seconds: int = Field(default=0, description="Runs start up to that much after their slot.")
    catch_up: CatchUp = Field(
        default=CatchUp.LATEST,
        description="Which missed slots run late: the newest within 24 h, the last 100, none.",
    )
    enabled: bool = Field(default=True, description="False: paused.")
    note: str | None = None

    def wish(self, key: str) -> Wish:
        """What is asked for, under that key."""
        asked = {name: getattr(self, name) for name in ScheduleRequest.model_fields if name != "parameters"}
        return Wish(key=key, parameters=self.parameters, **asked)


class NewScheduleRequest(ScheduleRequest):
    """A schedule that isn't there yet."""

    key: str | None = Field(default=None, description="The caller's own name for it; made up when left out.")


def request_type(registry: Registry, base: type[BaseModel]) -> Any:
    """The type of a body: `base` for the one kind there is, or the union of all of them by `kind`."""
    models = [_request_of(kind, base) for kind in registry.kinds.values()]
    if len(models) == 1:
        return models[0]
    return Annotated[reduce(or_, models), Field(discriminator="kind")]


def tags(registry: Registry) -> frozenset[str]:
    """The names that pydantic puts into the path of an error inside that union."""
    return frozenset(registry.kinds) if len(registry.kinds) > 1 else frozenset()


def _request_of(kind: Kind[Any, Any], base: type[BaseModel]) -> type[BaseModel]:
    name = "".join(part.capitalize() for part in kind.name.split("_")) + base.__name__.removeprefix("Run")
    fields: dict[str, Any] = {"kind": (Literal[kind.name], ...), "parameters": (kind.parameters, ...)}
    return create_model(name, __base__=base, __doc__=kind.title, **fields)
