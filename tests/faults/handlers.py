"""Kinds whose handlers write down what they do, in a database of their own, and misbehave as they are told."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection
from pydantic import BaseModel

from shared.clock import utc_now
from shared.errors import HandlerError
from shared.kinds import Kind, RetryPolicy, Run, Snooze

LEDGER = "FAULTS_LEDGER"  # the environment variables that a worker of these kinds is started with
GATES = "FAULTS_GATES"
ENTRY: LiteralString = "insert into entry (run_id, attempt, what, pid) values (%s, %s, %s, %s)"
BITE = 1 << 20
ATTEMPTS = 10
SOON = timedelta(seconds=0.1)


class Act(StrEnum):
    """What a handler is there to do."""

    DO = "do"
    TALK = "talk"  # says how far it is all the while
    RUSH = "rush"  # has its effect before its gate opens, and ends at once when it does
    STEP = "step"  # has its effect in a durable step, and fails once afterwards
    FAIL = "fail"  # at its first attempt, in a way that passes
    SNOOZE = "snooze"  # at its first attempt
    BLOCK = "block"  # lets nothing else of its process go on
    DEAF = "deaf"  # does not heed a cancel
    FREEZE = "freeze"  # its process, after its effect, at its first attempt; the gate is for the others
    EXIT = "exit"
    EAT = "eat"  # memory, without end
    LOOP = "loop"  # without end


class Order(BaseModel):
    """An order is done after so many seconds, and not before its gate is open, if it has one."""

    act: Act = Act.DO
    number: int = 0
    gate: str = ""
    seconds: float = 0


class Done(BaseModel):
    """Who did it, in which attempt."""

    pid: int
    attempt: int


async def obey(run: Run, order: Order) -> Done | Snooze:
    """One attempt: it is begun, and has its effect unless it comes to grief before."""
    await PAPERS.enter(run, "begin")
    if order.act in MISDEEDS:
        MISDEEDS[order.act]()
    if run.attempt == 1 and order.act is Act.SNOOZE:
        return Snooze(utc_now() + SOON, "later")
    if run.attempt == 1 and order.act is Act.FAIL:
        raise HandlerError("not this time", retry=True, retry_after=0)
    await WAYS.get(order.act, _wait)(run, order)
    if order.act is Act.STEP:
        await _step_then_fail(run)
    elif order.act is not Act.RUSH:
        await PAPERS.enter(run, "effect")
    if run.attempt == 1 and order.act is Act.FREEZE:
        os.kill(os.getpid(), signal.SIGSTOP)
    return Done(pid=os.getpid(), attempt=run.attempt)


def obey_alone(run: Run, order: Order) -> Done:
    """The same in a process of its own."""
    with psycopg.connect(os.environ[LEDGER], autocommit=True) as conn:
        conn.execute(ENTRY, [run.id, run.attempt, "begin", os.getpid()])
        if order.act in MISDEEDS:
            MISDEEDS[order.act]()
        conn.execute(ENTRY, [run.id, run.attempt, "effect", os.getpid()])
    return Done(pid=os.getpid(), attempt=run.attempt)


# How a handler waits --------------------------------------------------------------------------------------------------


async def _wait(run: Run, order: Order) -> None:
    if order.gate and not (run.attempt == 1 and order.act is Act.FREEZE):
        await PAPERS.pass_gate(order.gate)
    await asyncio.sleep(order.seconds)


async def _talk(run: Run, order: Order) -> None:
    for number in range(20):
        run.progress(percent=5 * number, step="talking", done=number, total=20)
        await asyncio.sleep(order.seconds / 20)
    await _wait(run, order.model_copy(update={"seconds": 0}))
    run.progress(percent=99, step="done")


async def _rush(run: Run, order: Order) -> None:
    await PAPERS.enter(run, "effect")
    run.progress(percent=50, step="waiting")
    await PAPERS.pass_gate(order.gate)
    run.progress(percent=99, step="done")


async def _block(run: Run, order: Order) -> None:
    while not gate(order.gate).exists():
        time.sleep(0.01)  # noqa: ASYNC251


async def _be_deaf(run: Run, order: Order) -> None:
    while not gate(order.gate).exists():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


WAYS: dict[Act, Callable[[Run, Order], Awaitable[None]]] = {
    Act.TALK: _talk,
    Act.RUSH: _rush,
    Act.BLOCK: _block,
    Act.DEAF: _be_deaf,
}


async def _step_then_fail(run: Run) -> None:
    async def make() -> int:
        await PAPERS.enter(run, "effect")
        return run.attempt

    if await run.step("effect", make) == run.attempt:
        raise HandlerError("after its step", retry=True, retry_after=0)


# How a handler comes to grief -----------------------------------------------------------------------------------------


def _exit() -> None:
    os._exit(7)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(BITE))


def _loop() -> None:
    while True:
        time.sleep(0)


MISDEEDS: dict[Act, Callable[[], None]] = {Act.EXIT: _exit, Act.EAT: _eat, Act.LOOP: _loop}


# What a process of handlers shares ------------------------------------------------------------------------------------


class Papers:
    """One connection to the ledger, and one watchman a gate."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._conn: AsyncConnection | None = None
        self._gates: dict[str, asyncio.Task[None]] = {}

    async def enter(self, run: Run, what: str) -> None:
        """Write down what an attempt did; committed when this returns."""
        async with self._lock:
            if self._conn is None:
                self._conn = await AsyncConnection.connect(os.environ[LEDGER], autocommit=True, prepare_threshold=None)
            await asyncio.shield(self._conn.execute(ENTRY, [run.id, run.attempt, what, os.getpid()]))

    async def pass_gate(self, name: str) -> None:
        """Return once the gate is open."""
        if name not in self._gates:
            self._gates[name] = asyncio.create_task(_watch(gate(name)))
        await asyncio.shield(self._gates[name])


def gate(name: str) -> Path:
    """The file whose existence opens the gate."""
    return Path(os.environ[GATES]) / name


async def _watch(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - who opens it is another process
        await asyncio.sleep(0.01)


PAPERS = Papers()


def define(name: str, **values: object) -> Kind[Order, Done]:
    """A kind of orders."""
    return Kind(
        name=name,
        parameters=Order,
        result=Done,
        title="Order",
        headline=lambda done: f"Done at attempt {done.attempt}",
        **values,  # type: ignore[arg-type]  # what the kind's fields say
    )


ORDER = define("order", handler="tests.faults.handlers:obey", retry=RetryPolicy(ATTEMPTS, first=SOON))
ORDER_ALONE = define(
    "order_alone",
    handler="tests.faults.handlers:obey_alone",
    process=True,
    timeout=timedelta(seconds=6),
    retry=RetryPolicy(attempts=1),
)
