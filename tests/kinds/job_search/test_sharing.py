"""What the runs of one worker do once for all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest
from psycopg import AsyncConnection, AsyncCursor

from kinds.job_search.board_server import BoardServer
from kinds.job_search.fetching import LEASE_UNIT, READ_UNITS
from kinds.job_search.handler import search
from kinds.job_search.index import FIND_WORD, READ_SHELVES
from kinds.job_search.kind import JobSearch, JobSearchResult
from kinds.job_search.sharing import Desk, desk_of
from tests.kinds.job_search.support import Ports, make_handle
from tests.support import connect

T = TypeVar("T")

PATIENCE = 10  # seconds: what would wait for ever fails


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns; TimeoutError when it doesn't in time."""
    return asyncio.run(asyncio.wait_for(main, 3 * PATIENCE))


class Work:
    """An errand that the test lets end, and that takes a while to clean up when it is cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begun = 0
        self.cleaned_up = 0
        self.started, self.may_end = asyncio.Event(), asyncio.Event()
        self.cleaning, self.may_leave = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        self.started.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cleaning.set()
            await asyncio.wait_for(self.may_leave.wait(), PATIENCE)
            self.cleaned_up += 1
            raise
        if self.error:
            raise self.error
        return f"result {self.begun}"


def ask(desk: Desk, work: Work, times: int = 1) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(desk.once("errand", work)) for _ in range(times)]


def test_an_errand_is_done_once_for_all_who_ask_meanwhile() -> None:
    async def main() -> None:
        desk, work = Desk(), Work()
        asking = ask(desk, work, 20)
        await work.started.wait()
        asking += ask(desk, work, 20)
        work.may_end.set()
        assert await asyncio.gather(*asking) == ["result 1"] * 40
        assert await desk.once("errand", work) == "result 2"

    run(main())


def test_other_errands_are_done_on_their_own() -> None:
    async def main() -> None:
        desk, one, other = Desk(), Work(), Work()
        first = ask(desk, one)
        await one.started.wait()
        other.may_end.set()
        assert await desk.once("other errand", other) == "result 1"
        assert not first[0].done()
        one.may_end.set()
        assert await first[0] == "result 1"

    run(main())


def test_an_error_is_shared_and_the_errand_is_tried_anew_by_the_next() -> None:
    async def main() -> None:
        desk, work = Desk(), Work(ValueError("no luck"))
        asking = ask(desk, work, 3)
        await work.started.wait()
        work.may_end.set()
        assert await asyncio.gather(*asking, return_exceptions=True) == [work.error] * 3
        work.error = None
        assert await desk.once("errand", work) == "result 2"

    run(main())


def test_who_is_cancelled_early_leaves_the_errand_to_the_others() -> None:
    async def main() -> None:
        desk, work = Desk(), Work()
        first, second, third = ask(desk, work, 3)
        await work.started.wait()
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        assert (first.cancelled(), third.cancelled(), second.done()) == (True, True, False)
        work.may_end.set()
        assert await second == "result 1"
        assert work.cleaned_up == 0

    run(main())


def test_the_last_who_is_cancelled_cancels_the_errand_and_waits_until_it_has_cleaned_up() -> None:
    async def main() -> None:
        desk, work = Desk(), Work()
        first, last = ask(desk, work, 2)
        await work.started.wait()
        first.cancel()
        last.cancel()
        await work.cleaning.wait()
        assert first.cancelled()
        assert not last.done()
        work.may_leave.set()
        await asyncio.wait([last])
        assert (last.cancelled(), work.cleaned_up) == (True, 1)

    run(main())


def test_an_errand_that_fails_to_clean_up_does_not_hide_that_its_run_was_cancelled() -> None:
    async def fail() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no connection")

    async def main() -> None:
        asking = asyncio.create_task(Desk().once("errand", fail))
        await started.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()

    started = asyncio.Event()
    run(main())


def test_who_asks_while_a_cancelled_errand_cleans_up_has_a_new_one() -> None:
    async def main() -> None:
        desk, work, again = Desk(), Work(), Work()
        (last,) = ask(desk, work)
        await work.started.wait()
        last.cancel()
        await work.cleaning.wait()
        late = ask(desk, again, 2)
        await again.started.wait()
        work.may_leave.set()
        await asyncio.wait([last])
        late += ask(desk, again)
        again.may_end.set()
        assert await asyncio.gather(*late) == ["result 1"] * 3
        assert last.cancelled()

    run(main())


def test_a_result_may_be_kept_for_a_while_and_an_error_is_not() -> None:
    async def main() -> None:
        desk, loop, kept, over = Desk(), asyncio.get_running_loop(), Work(), asyncio.Event()
        kept.may_end.set()
        assert [await desk.once("errand", kept, keep=60) for _ in range(3)] == ["result 1"] * 3
        short = Work()
        short.may_end.set()
        assert [await desk.once("short", short, keep=0.01) for _ in range(2)] == ["result 1"] * 2
        loop.call_later(0.1, over.set)
        await over.wait()
        assert await desk.once("short", short, keep=0.01) == "result 2"
        failing = Work(ValueError("no luck"))
        failing.may_end.set()
        for _ in range(2):
            with pytest.raises(ValueError, match="no luck"):
                await desk.once("failing", failing, keep=60)
        assert failing.begun == 2

    run(main())


def test_runs_of_one_worker_share_a_desk_and_those_of_two_do_not(database_url: str) -> None:
    async def main() -> None:
        async with httpx.AsyncClient() as one, httpx.AsyncClient() as other:
            desks = [desk_of(make_handle(Ports(database_url, http))) for http in (one, one, other)]
            assert desks[0] is desks[1]
            assert desks[0] is not desks[2]
            assert desks[0].index is not desks[2].index

    run(main())


# Fifty runs of one worker ---------------------------------------------------------------------------------------------

RUNS = 50


class CountingPorts(Ports):
    """Ports that count statements, and say when every run has used its first connection."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        super().__init__(url, http)
        self.statements: Counter[Any] = Counter()
        self.left = 0
        self.all_in = asyncio.Event()

    @asynccontextmanager
    async def db(self) -> AsyncIterator[AsyncConnection]:
        statements = self.statements

        class Counting(AsyncCursor[Any]):
            async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                statements[query] += 1
                return await super().execute(query, *args, **options)

        async with connect(self.url) as conn:
            conn.cursor_factory = Counting
            yield conn
        self.left += 1
        if self.left == RUNS:
            self.all_in.set()


async def fifty_runs(url: str, parameters: JobSearch) -> tuple[list[JobSearchResult], Counter[Any]]:
    """All of them have to wait for the standing of their boards until the last has asked for it."""
    async with httpx.AsyncClient() as http, connect(url) as holder:
        ports = CountingPorts(url, http)
        await holder.execute("lock table foxtrot.fetch_units in access exclusive mode")
        running = [asyncio.create_task(search(make_handle(ports), parameters)) for _ in range(RUNS)]
        await ports.all_in.wait()
        await holder.commit()
        return await asyncio.gather(*running), ports.statements


def test_fifty_runs_at_once_ask_a_board_and_read_its_standing_once(database_url: str, server: BoardServer) -> None:
    parameters = JobSearch(query="engineer", companies=["bramblewick", "lever:fernhollow", "otterline"])
    results, statements = run(fifty_runs(database_url, parameters))
    assert server.requests == {"bramblewick": 1, "lever:fernhollow": 1, "otterline": 1}
    assert len({result.model_dump_json() for result in results}) == 1
    assert results[0].found > 5
    assert statements[LEASE_UNIT] == 3
    assert statements[READ_UNITS] == 1 + 2 * 3, "together once, and each board before and after it was asked"


def test_once_they_know_a_board_no_search_reads_its_postings(database_url: str, server: BoardServer) -> None:
    parameters = JobSearch(query="engineer", companies=["otterline"])

    async def main() -> Counter[Any]:
        async with httpx.AsyncClient() as http:
            ports = CountingPorts(database_url, http)
            first = await search(make_handle(ports), parameters)
            ports.statements.clear()
            running = [search(make_handle(ports), parameters) for _ in range(RUNS)]
            assert {result.found for result in await asyncio.gather(*running)} == {first.found}
            return ports.statements

    statements = run(main())
    assert (statements[READ_SHELVES], statements[FIND_WORD], statements[LEASE_UNIT]) == (0, 0, 0)
    assert server.requests == {"otterline": 1}


def test_a_run_that_is_cancelled_while_others_wait_costs_them_nothing(database_url: str, server: BoardServer) -> None:
    parameters = JobSearch(query="engineer", companies=["otterline"])

    async def main() -> list[JobSearchResult]:
        async with httpx.AsyncClient() as http, connect(database_url) as holder:
            ports = CountingPorts(database_url, http)
            await holder.execute("lock table foxtrot.fetch_units in access exclusive mode")
            running = [asyncio.create_task(search(make_handle(ports), parameters)) for _ in range(RUNS)]
            await ports.all_in.wait()
            for task in running[: RUNS - 2]:
                task.cancel()
            await asyncio.wait(running[: RUNS - 2])
            await holder.commit()
            return await asyncio.gather(*running[RUNS - 2 :])

    first, second = run(main())
    assert first == second
    assert first.boards[0].outcome == "fetched"
    assert server.requests == {"otterline": 1}
