import asyncio
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import BaseModel, Field, field_validator

from shared.errors import InvalidInputError, SettingsError, UnknownKindError
from shared.kinds import (
    Kind,
    Lane,
    Progress,
    Registry,
    Retention,
    Run,
    Source,
    Status,
    load_registry,
)
from shared.testing import TrialPorts


class Area(BaseModel):
    radius: int = Field(default=10, ge=0)


class Search(BaseModel):
    query: str = Field(default="", max_length=5)
    area: Area = Area()


class Found(BaseModel):
    found: int


DEMO = Kind(
    name="demo",
    parameters=Search,
    result=Found,
    handler="tests.no_such_module:work",
    title="Search",
    headline=lambda result: f"{result.found} found",
)
MODULE = """
from shared.kinds import Kind
from pydantic import BaseModel

class Nothing(BaseModel): ...

async def work(run, parameters): return Nothing()

{name} = Kind(
    name="{kind}", parameters=Nothing, result=Nothing, handler="{module}:work", title="T", headline=lambda _: "done"
)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a module that can be imported, by default with one kind; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(kind: str = "one", text: str = MODULE) -> str:
        name = f"kinds_of_{uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(text.format(name="KIND", kind=kind, module=name), encoding="utf-8")
        return name

    return write


# Kinds ----------------------------------------------------------------------------------------------------------------


def test_parameters_are_parsed_into_the_model() -> None:
    assert DEMO.parse({"query": "nurse"}) == Search(query="nurse")
    assert DEMO.parse({}) == Search()


@pytest.mark.parametrize(
    ("parameters", "field", "fault"),
    [
        ({"query": 7}, "parameters.query", "valid string"),
        ({"query": "nurses"}, "parameters.query", "at most 5 characters"),
        ({"area": {"radius": -1}}, "parameters.area.radius", "greater than or equal to 0"),
        ([], "parameters", "valid dictionary"),
        (None, "parameters", "valid dictionary"),
    ],
)
def test_wrong_parameters_are_named_by_their_path(parameters: Any, field: str, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault) as raised:
        DEMO.parse(parameters)
    assert raised.value.field == field
    assert raised.value.message.startswith(f"{field}: ")


def test_a_kind_may_refuse_what_it_cannot_serve_and_none_does_unless_it_says_so() -> None:
    def refuse(parameters: Search) -> None:
        raise InvalidInputError(f"nothing about {parameters.query}", field="parameters.query")

    DEMO.check(Search(query="nurse"))
    refusing = replace(DEMO, check=refuse)
    with pytest.raises(InvalidInputError, match="nothing about nurse"):
        refusing.check(Search(query="nurse"))
    assert refusing.parse({"query": "nurse"}) == Search(query="nurse"), "what is stored can still be read"


def test_a_fault_of_a_models_own_is_told_in_its_words() -> None:
    class Odd(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def _odd(cls, number: int) -> int:
            if number % 2 == 0:
                raise ValueError(f"{number} is even")
            return number

    with pytest.raises(InvalidInputError, match=r"^parameters\.number: 4 is even$"):
        Kind("odd", Odd, Odd, "here:nowhere", title="Odd", headline=repr).parse({"number": 4})


def test_a_handler_is_imported_when_it_is_wanted(module: Callable[..., str]) -> None:
    name = module()
    kind = load_registry([name]).get("one")
    assert kind.load_handler() is sys.modules[name].work


@pytest.mark.parametrize(
    "handler", ["tests.no_such_module:work", "shared.kinds:no_such_function", "shared.kinds", ":work", ""]
)
def test_a_handler_that_leads_nowhere_is_a_wrong_setting(handler: str) -> None:
    with pytest.raises(SettingsError, match=rf"kind 'demo': handler '{handler}' can't be imported") as raised:
        replace(DEMO, handler=handler).load_handler()
    assert raised.value.hint == "Write it as 'package.module:function'."


def test_a_kind_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DEMO.name = "other"  # type: ignore[misc]


def test_retention_is_by_final_status() -> None:
    retention = Retention(cancelled=timedelta(days=40))
    assert [retention.of(status).days for status in (Status.SUCCESS, Status.FAILED, Status.CANCELLED)] == [30, 7, 40]
    assert retention.longest == timedelta(days=40)


def test_lanes_are_in_the_order_of_claims_and_named_as_their_sources() -> None:
    assert sorted(Lane) == [Lane.MANUAL, Lane.CRON, Lane.BACKFILL] == [0, 1, 2]
    assert [lane.name.lower() for lane in Lane] == [source.value for source in Source]


# The registry ---------------------------------------------------------------------------------------------------------


def test_a_kind_is_found_by_its_name() -> None:
    assert Registry([DEMO]).get("demo") is DEMO


@pytest.mark.parametrize(("kinds", "known"), [([DEMO, replace(DEMO, name="another")], "another, demo"), ([], "none")])
def test_an_unknown_kind_is_answered_with_those_there_are(kinds: list[Kind[Any, Any]], known: str) -> None:
    with pytest.raises(UnknownKindError, match=rf"kind 'dmeo' is unknown; known kinds: {known}") as raised:
        Registry(kinds).get("dmeo")
    assert raised.value.field == "kind"


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="kind 'demo' is defined twice"):
        Registry([DEMO, replace(DEMO, title="Another")])


def test_one_kind_that_two_modules_name_is_one_kind() -> None:
    assert Registry([DEMO, DEMO]).kinds == {"demo": DEMO}


def test_a_registry_is_made_of_the_kinds_of_all_modules(module: Callable[..., str]) -> None:
    registry = load_registry([module("one"), module("two")])
    assert registry.kinds.keys() == {"one", "two"}


def test_modules_that_are_wrong_are_named(module: Callable[..., str]) -> None:
    empty, broken, one = module(text=""), module(text="import no_such_module_either"), module("one")
    with pytest.raises(SettingsError, match=f"FOXTROT_KINDS: module '{empty}' defines no Kind"):
        load_registry([one, empty])
    with pytest.raises(SettingsError, match=f"'{broken}' can't be imported: No module named 'no_such_module_either'"):
        load_registry([broken])
    with pytest.raises(SettingsError, match="module 'no_such_module' can't be imported"):
        load_registry(["no_such_module"])
    with pytest.raises(SettingsError, match="kind 'one' is defined twice"):
        load_registry([one, module("one")])


# The run that a handler gets ------------------------------------------------------------------------------------------


def a_run(ports: TrialPorts) -> Run:
    return Run(
        id=uuid4(),
        user_id=uuid4(),
        org_id=None,
        kind="demo",
        subject=None,
        source=Source.MANUAL,
        attempt=2,
        fingerprint=bytes(16),
        scheduled_for=None,
        client_context=None,
        ports=ports,
    )


@pytest.mark.parametrize(("said", "kept"), [(-3, 0), (0, 0), (40, 40), (100, 100), (101, 100), (None, None)])
def test_a_percent_stays_within_its_bounds(said: int | None, kept: int | None) -> None:
    ports = TrialPorts(httpx.AsyncClient())
    a_run(ports).progress(said, "fetch", "acme", done=4, total=10)
    assert ports.said == [Progress(percent=kept, step="fetch", detail="acme", done=4, total=10)]


def test_a_handler_reaches_what_the_worker_lends() -> None:
    async def main() -> None:
        async with httpx.AsyncClient() as http:
            ports = TrialPorts(http)
            run = a_run(ports)

            async def make() -> str:
                ports.said.append(Progress(step="made"))
                return "value"

            assert [await run.step("fetch", make) for _ in range(2)] == ["value", "value"]
            assert len(ports.said) == 1
            assert run.http is http
            assert run.idempotency_key == str(run.id)
            assert not run.cancelled

    asyncio.run(main())
