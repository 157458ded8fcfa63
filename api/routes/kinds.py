"""Kinds: what can run here, with all that a client needs to build a form and to show progress."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import Caller
from api.deps import Process
from shared.kinds import Kind

router = APIRouter(prefix="/kinds", tags=["kinds"])


class StepView(BaseModel):
    """A step that a run of the kind goes through."""

    name: str
    text: str
    percent: int = Field(description="Where it begins.")


class KindView(BaseModel):
    """A kind: its words, and the JSON Schemas of what it takes and gives."""

    name: str = Field(examples=["job_search"])
    title: str
    doing: str
    steps: list[StepView]
    hints: Mapping[str, str]
    usual_seconds: float
    parameters: dict[str, Any]
    result: dict[str, Any]


class Kinds(BaseModel):
    """All of them, by name."""

    kinds: list[KindView]


@router.get("", summary="List kinds")
async def read_kinds(process: Process, _caller: Caller) -> Kinds:
    """What can run here."""
    return Kinds(kinds=[_view(kind) for _, kind in sorted(process.registry.kinds.items())])


def _view(kind: Kind[Any, Any]) -> KindView:
    return KindView(
        name=kind.name,
        title=kind.title,
        doing=kind.doing,
        steps=[StepView(name=step.name, text=step.text, percent=step.percent) for step in kind.steps],
        hints=kind.hints,
        usual_seconds=kind.usual_duration.total_seconds(),
        parameters=kind.parameters.model_json_schema(),
        result=kind.result.model_json_schema(mode="serialization"),
    )
