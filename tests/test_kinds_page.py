"""docs/kinds.md: its kind, its handler and its test, as they stand on the page."""

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from shared.errors import HandlerError
from shared.testing import TrialPorts

PAGE = (Path(__file__).parents[1] / "docs" / "kinds.md").read_text(encoding="utf-8")
FILE = re.compile(r"```python\n# (my_app/\w+\.py)\n(.*?)```", re.DOTALL)
TEST = re.compile(r"```python\nimport httpx\n(.*?)```", re.DOTALL)


def answer(request: httpx.Request) -> httpx.Response:
    if request.method == "GET":
        return httpx.Response(200, text=f"Page {request.url.params['page']}")
    return httpx.Response(200, json={"summary": "All about bread"})


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names of the page's test, once its files lie where they say."""
    for name, text in FILE.findall(PAGE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"answer": answer}
    exec("import httpx\n" + TEST.findall(PAGE)[0], names)  # noqa: S102 - our own page
    yield names
    for module in [module for module in sys.modules if module.partition(".")[0] == "my_app"]:
        del sys.modules[module]
    importlib.invalidate_caches()


def test_the_page_s_test_passes(page: dict[str, Any], database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("create table digests (user_id uuid, summary text)")
    page["TrialPorts"] = lambda http, database_url=None, at=database_url: TrialPorts(http, database_url and at)
    asyncio.run(page["test_a_digest"]())
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select summary from digests").fetchall() == [("All about bread",)]


def test_the_page_s_handler_fails_in_its_own_words(page: dict[str, Any]) -> None:
    def nothing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"summary": ""})

    async def attempt() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(nothing)) as http:
            await page["try_handler"](page["DIGEST"], {"topic": "nothing"}, TrialPorts(http))

    with pytest.raises(HandlerError, match="nothing to read about this"):
        asyncio.run(attempt())
