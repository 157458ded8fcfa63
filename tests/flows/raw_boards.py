"""The recorded boards read anew, by hand and without the adapters: what the system says is checked against this."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html import unescape
from typing import Any

import snowballstemmer

stem = lru_cache(maxsize=None)(snowballstemmer.stemmer("english").stemWord)

Unit = tuple[str, str]  # source and board


@dataclass(frozen=True)
class Raw:
    """One job of a raw answer: where it may be found, and everything in it that can be searched, stemmed."""

    unit: Unit
    id: str
    places: str
    posted: datetime
    words: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is stored under."""
        return (*self.unit, self.id)


def read_raw(reference: str, body: Any) -> list[Raw]:
    """The jobs of a recorded body, by its reference on the board server."""
    source, _, board = reference.rpartition(":")
    if not source:
        source, board = (reference, "newest") if reference in READERS else ("greenhouse", reference)
    return [_raw((source, board), *fields) for fields in READERS[source](board, body)]


def matches(query: str, words: tuple[str, ...]) -> bool:
    """The query by hand: OR of ANDs, quotes for words in a row, minus for words that must not occur."""
    return any(_all_match(part, words) for part in query.split(" OR "))


def _raw(unit: Unit, job_id: object, posted: datetime, places: Iterable[str | None], *texts: str | None) -> Raw:
    named = [place for place in places if place]
    words = [word for text in [*named, *texts] for word in [*_words(text or ""), "·"]]
    return Raw(unit, str(job_id), "; ".join(named).lower(), posted, tuple(words))


def _all_match(part: str, words: tuple[str, ...]) -> bool:
    for minus, phrase, word in re.findall(r'(-?)(?:"([^"]+)"|(\S+))', part):
        wanted = tuple(_words(phrase or word))
        found = any(words[at : at + len(wanted)] == wanted for at in range(len(words)))
        if found == bool(minus):
            return False
    return True


def _words(text: str) -> list[str]:
    return [stem(word) for word in re.findall(r"[^\W_]+", text.lower())]


def _plain(html: str | None) -> str:
    """HTML's words: blocks apart, inline marks gone."""
    text = re.sub(r"<!--.*?-->", "", html or "", flags=re.DOTALL)
    text = re.sub(
        r"</?(p|li|ul|ol|div|br|h\d|tr|td|th|table|section|hr|dt|dd)\b[^>]*>", " · ", text, flags=re.IGNORECASE
    )
    return unescape(re.sub(r"<[^>]*>", "", text))


def _greenhouse(_board: str, body: Any) -> Iterator[Any]:
    for job in body["jobs"]:
        posted = datetime.fromisoformat(job["first_published"])
        yield job["id"], posted, [job["location"]["name"]], job["title"], job["company_name"]


def _lever(board: str, body: Any) -> Iterator[Any]:
    for job in body:
        said = job["categories"]
        lists = " · ".join(f"{part['text']} · {_plain(part['content'])}" for part in job["lists"])
        texts = [job["text"], board, said["department"], said["team"], said["commitment"]]
        posted = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=job["createdAt"])
        yield (
            job["id"],
            posted,
            said["allLocations"],
            *texts,
            _plain(job["description"]),
            lists,
            _plain(job["additional"]),
        )


def _ashby(board: str, body: Any) -> Iterator[Any]:
    for job in body["jobs"]:
        places = [job["location"], *(place["location"] for place in job["secondaryLocations"])]
        texts = [job["title"], board, job["department"], job["team"], job["employmentType"]]
        if job["isListed"]:
            yield job["id"], datetime.fromisoformat(job["publishedAt"]), places, *texts, _plain(job["descriptionHtml"])


def _remotive(_board: str, body: Any) -> Iterator[Any]:
    for job in body["jobs"]:
        posted = datetime.fromisoformat(job["publication_date"]).replace(tzinfo=UTC)
        texts = [job["title"], job["company_name"], job["category"], job["job_type"], *job["tags"]]
        yield job["id"], posted, job["candidate_required_location"].split(","), *texts, _plain(job["description"])


def _arbeitnow(_board: str, body: Any) -> Iterator[Any]:
    for job in body["data"]:
        html = job["description"]
        posted = datetime.fromtimestamp(job["created_at"], UTC)
        texts = [job["title"], job["company_name"], *job["tags"], *job["job_types"]]
        yield (
            job["slug"],
            posted,
            [job["location"]],
            *texts,
            _plain(unescape(html) if html.startswith("&lt;") else html),
        )


def _remoteok(_board: str, body: Any) -> Iterator[Any]:
    for job in body[1:]:
        texts = [job["position"], job["company"], *job["tags"], _plain(job["description"])]
        yield job["id"], datetime.fromisoformat(job["date"]), [job["location"].strip(" ,")], *texts


READERS = {
    "greenhouse": _greenhouse,
    "lever": _lever,
    "ashby": _ashby,
    "remotive": _remotive,
    "arbeitnow": _arbeitnow,
    "remoteok": _remoteok,
}
