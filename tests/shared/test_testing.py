"""Trying a handler without a worker, as an author of a kind does."""

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from shared.errors import HandlerError, InvalidInputError
from shared.kinds import Kind, Progress, Run
from shared.testing import TrialPorts, try_handler


class Count(BaseModel):
    upto: int = 3


class Counted(BaseModel):
    total: int


async def count(run: Run, parameters: Count) -> Counted:
    async def first() -> int:
        return 1

    total = await run.step("first", first)
    run.progress(done=1, total=parameters.upto)
    await run.turn("abacus")
    return Counted(total=total + parameters.upto)


def count_here(run: Run, parameters: Count) -> dict[str, int]:
    return {"total": parameters.upto}


async def ask(run: Run, parameters: Count) -> Counted:
    async with run.db() as conn:
        row = await (await conn.execute("select 40 + %s", [parameters.upto])).fetchone()
    assert row is not None
    return Counted(total=row[0])


def kind(handler: str) -> Kind[Count, Counted]:
    return Kind("count", Count, Counted, f"{__name__}:{handler}", title="Count", headline=lambda _: "counted")


def attempt(handler: str, ports: TrialPorts | None = None, **parameters: Any) -> Any:
    return asyncio.run(try_handler(kind(handler), parameters, ports or TrialPorts(httpx.AsyncClient())))


def test_a_trial_gives_the_result_and_keeps_what_was_said_and_done() -> None:
    ports = TrialPorts(httpx.AsyncClient())
    assert attempt("count", ports, upto=4) == Counted(total=5)
    assert (ports.said, ports.steps, ports.turns) == ([Progress(done=1, total=4)], {"first": 1}, ["abacus"])


def test_a_step_of_an_earlier_attempt_is_not_done_again() -> None:
    assert attempt("count", TrialPorts(httpx.AsyncClient(), steps={"first": 100})) == Counted(total=103)


def test_a_sync_handler_runs_right_here() -> None:
    assert attempt("count_here") == Counted(total=3)


def test_wrong_parameters_are_refused_before_the_handler_is_called() -> None:
    with pytest.raises(InvalidInputError, match=r"parameters\.upto"):
        attempt("count", upto="many")


def test_a_handler_that_needs_a_database_says_so() -> None:
    with pytest.raises(HandlerError, match="needs a database"):
        attempt("ask")


def test_with_a_database_it_has_a_connection(database_url: str) -> None:
    assert attempt("ask", TrialPorts(httpx.AsyncClient(), database_url), upto=2) == Counted(total=42)
