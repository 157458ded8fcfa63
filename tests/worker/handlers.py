"""Kinds whose handlers do one thing each; also what the worker processes of the tests are started with."""

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from pydantic import BaseModel

from shared.errors import HandlerError
from shared.kinds import Kind, Run, Snooze

MADE: list[UUID] = []


class Input(BaseModel):
    text: str = ""
    number: float | None = None
    until: datetime | None = None


class Output(BaseModel):
    text: str = ""
    number: float = 0


def define(handler: str, **values: Any) -> Kind[Input, Output]:
    """The kind whose name is its handler's, unless `values` say otherwise."""
    defaults: dict[str, Any] = {
        "name": handler,
        "parameters": Input,
        "result": Output,
        "handler": f"{__name__}:{handler}",
        "title": handler.capitalize(),
        "headline": lambda output: output.text,
    }
    return Kind(**defaults | values)


async def echo(run: Run, parameters: Input) -> Output:
    return Output(text=parameters.text, number=parameters.number or 0)


def echo_in_thread(run: Run, parameters: Input) -> Output:
    run.progress(step="threaded")
    return Output(text=threading.current_thread().name)


async def fail(run: Run, parameters: Input) -> Output:
    raise HandlerError(parameters.text, hint="Do otherwise.")


async def fail_for_now(run: Run, parameters: Input) -> Output:
    run.progress(percent=40, step="asking")
    raise HandlerError(parameters.text, retry=True, retry_after=parameters.number)


async def put_off(run: Run, parameters: Input) -> Snooze:
    assert parameters.until
    return Snooze(parameters.until, parameters.text)


async def break_down(run: Run, parameters: Input) -> Output:
    raise KeyError(parameters.text)


async def quit_process(run: Run, parameters: Input) -> Output:
    raise SystemExit(1)


async def cancel_itself(run: Run, parameters: Input) -> Output:
    raise asyncio.CancelledError


async def answer_wrongly(run: Run, parameters: Input) -> Any:
    return {"text": [parameters.text]}


async def hold(run: Run, parameters: Input) -> Output:
    """Goes on until it is told to stop."""
    run.progress(step="holding")
    await asyncio.Event().wait()
    raise AssertionError


def hold_thread(run: Run, parameters: Input) -> Output:
    """Goes on until it sees that it was told to stop, and returns a result even so."""
    run.progress(step="holding")
    while not run.cancelled:
        time.sleep(0.001)
    return Output(text="in time")


async def ignore_once(run: Run, parameters: Input) -> Output:
    """Ignores being told to stop; stops at the second time."""
    run.progress(step="holding")
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
    raise AssertionError


async def ignore_always(run: Run, parameters: Input) -> Output:
    """Can't be told to stop."""
    run.progress(step="holding")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def hold_connection(run: Run, parameters: Input) -> Output:
    async with run.db():
        return await hold(run, parameters)


async def write_row(run: Run, parameters: Input) -> Output:
    async with run.db() as conn:
        await conn.execute("create table public.written (text text)")
        await conn.execute("insert into public.written values (%s)", [parameters.text])
    return Output()


async def step_then_fail(run: Run, parameters: Input) -> Output:
    """Returns which attempt made its step, and notes in MADE that it was made."""

    async def make() -> int:
        MADE.append(run.id)
        return run.attempt

    made = await run.step("made", make)
    if run.attempt == 1:
        raise HandlerError("once more", retry=True, retry_after=0)
    return Output(number=made)


async def lose_step(run: Run, parameters: Input) -> Output:
    """Loses its run in the middle of a step, and goes on only if nobody says so."""

    async def make() -> int:
        async with run.db() as conn:
            await conn.execute("update foxtrot.queue set worker_id = null where run_id = %s", [run.id])
        return 1

    await run.step("lost", make)
    return Output(text="nobody said so")


async def step_and_cut(run: Run, parameters: Input) -> Output:
    """Ends every connection of its worker in the middle of a step."""

    async def make() -> int:
        MADE.append(run.id)
        async with run.db() as conn:
            where = conn.info.dsn
        async with await psycopg.AsyncConnection.connect(where, autocommit=True) as conn:
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'foxtrot-worker'"
                " and pid <> pg_backend_pid()"
            )
        return 7

    return Output(number=await run.step("cut", make))


ECHO = define("echo")
HOLD = define("hold")
IGNORE_ONCE = define("ignore_once")


def where(run: Run, parameters: Input) -> Output:
    run.progress(percent=40, step="counting", detail=parameters.text)
    return Output(text=run.idempotency_key, number=os.getpid())


def die(run: Run, parameters: Input) -> Output:
    os.kill(os.getpid(), signal.SIGKILL)
    return Output()


def exit_at_once(run: Run, parameters: Input) -> Output:
    os._exit(7)


def ask_for_a_connection(run: Run, parameters: Input) -> Output:
    run.db()
    return Output()


def break_in_process(run: Run, parameters: Input) -> Output:
    raise KeyError("secret")


def tell_and_spin(run: Run, parameters: Input) -> Output:
    run.progress(done=os.getpid())
    while True:
        time.sleep(1)


async def call(run: Run, parameters: Input) -> Output:
    await run.turn(parameters.text)
    return Output()
