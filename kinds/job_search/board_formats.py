"""How the services that list postings are asked and answer, for the `BoardServer`.

A new one is an entry of `FORMATS`, and its samples: `samples/<source>.json` for a feed, or `samples/<source>/` with a
file for each company.
"""

import html
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

JSON = "application/json"
ARBEITNOW_PAGE = 100


class Answer(NamedTuple):
    """A body and how it is sent."""

    body: bytes
    content_type: str = JSON
    status: int = HTTPStatus.OK


@dataclass(frozen=True)
class Asked:
    """What a request says beyond its path: the query, the `Accept` header and `url`, the address without the query."""

    query: Mapping[str, str]
    accept: str
    url: str

    def number(self, name: str) -> int | None:
        """A whole number of the query; None when it isn't there or isn't one."""
        text = self.query.get(name, "")
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


NO_BOARD = Answer(b'{"status":404,"error":"Board not found"}', status=HTTPStatus.NOT_FOUND)


def as_json(content: Any) -> Answer:
    """The whole content."""
    return Answer(json.dumps(content).encode())


@dataclass(frozen=True)
class Format:
    """One service: `path` matches its addresses, with a company's board as the only group; a feed has no group.

    `answer` makes the answer from all that the board has; `missing` is what a board that doesn't exist answers.
    """

    source: str
    path: re.Pattern[str]
    answer: Callable[[Any, Asked], Answer] = lambda content, _: as_json(content)
    missing: Answer = NO_BOARD

    @property
    def is_feed(self) -> bool:
        """Whether it is one list of many companies' postings."""
        return not self.path.groups

    def reference(self, board: str) -> str:
        """A board's key in `BoardServer.boards`; Greenhouse's have no prefix, unless a feed has the name."""
        if self.is_feed:
            return self.source
        return board if self.source == "greenhouse" and board not in FEEDS else f"{self.source}:{board}"


def find(path: str) -> tuple[Format, str]:
    """Whose address a path is and the reference of the board that it names; `NOWHERE` and "" for any other path."""
    for known in FORMATS:
        match = known.path.fullmatch(path)
        if match:
            return known, known.reference("".join(match.groups()))
    return NOWHERE, ""


def _greenhouse(content: Any, asked: Asked) -> Answer:
    """Descriptions, departments and offices only with `content=true`."""
    if asked.query.get("content") == "true":
        return as_json(content)
    return as_json(_without(content, {"content", "departments", "offices"}))


def _lever(content: Any, asked: Asked) -> Answer:
    """A part of the list, as JSON if `mode` or else the `Accept` header says so, as a web page otherwise."""
    limit = asked.number("limit")
    postings = content[asked.number("skip") or 0 :][:limit]
    if asked.query.get("mode", "json" if JSON in asked.accept else "html") == "json":
        return as_json(postings)
    items = (f'<li><a href="{html.escape(one["hostedUrl"])}">{html.escape(one["text"])}</a></li>' for one in postings)
    return Answer(f'<div class="lever"><ul>{"".join(items)}</ul></div>'.encode(), "text/html; charset=utf-8")


def _ashby(content: Any, asked: Asked) -> Answer:
    """Compensation, and whether it may be shown, only with `includeCompensation=true`."""
    if asked.query.get("includeCompensation") == "true":
        return as_json(content)
    return as_json(_without(content, {"compensation", "shouldDisplayCompensationOnJobPostings"}))


def _arbeitnow(content: Any, asked: Asked) -> Answer:
    """One page with links to its neighbours; a page past the end is empty. The number of pages is never told."""
    rows, page = content["data"], asked.number("page") or 1
    begin = (page - 1) * ARBEITNOW_PAGE
    data = rows[begin : begin + ARBEITNOW_PAGE]
    links = {
        "first": f"{asked.url}?page=1",
        "last": None,
        "prev": f"{asked.url}?page={page - 1}" if page > 1 else None,
        "next": f"{asked.url}?page={page + 1}" if rows[begin + ARBEITNOW_PAGE :] else None,
    }
    meta = {
        "current_page": page,
        "from": begin + 1 if data else None,
        "path": asked.url,
        "per_page": ARBEITNOW_PAGE,
        "to": begin + len(data) if data else None,
        "terms": "A sample of a free public API: ask rarely and link back.",
        "info": "The newest come first. Use `?page=` for the others.",
    }
    return as_json({**content, "data": data, "links": links, "meta": meta})


def _without(content: Any, fields: Collection[str]) -> dict[str, Any]:
    jobs = [{key: value for key, value in job.items() if key not in fields} for job in content["jobs"]]
    return {**content, "jobs": jobs}


FORMATS = (
    Format("greenhouse", re.compile(r"/v1/boards/([^/:]+)/jobs"), _greenhouse),
    Format(
        "lever",
        re.compile(r"/v0/postings/([^/]+)"),
        _lever,
        Answer(b'{"ok":false,"error":"Document not found"}', status=HTTPStatus.NOT_FOUND),
    ),
    Format(
        "ashby",
        re.compile(r"/posting-api/job-board/([^/]+)"),
        _ashby,
        Answer(b"Not Found", "text/plain; charset=utf-8", HTTPStatus.NOT_FOUND),
    ),
    Format("remotive", re.compile(r"/api/remote-jobs")),
    Format("arbeitnow", re.compile(r"/api/job-board-api"), _arbeitnow),
    Format("remoteok", re.compile(r"/api")),
)
FEEDS = frozenset(known.source for known in FORMATS if known.is_feed)
NOWHERE = Format("", re.compile(""))
