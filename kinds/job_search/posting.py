"""One `Posting`, whatever board it came from, and the rules that normalise its fields."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from kinds.job_search.text import clean, fold

TITLE_LENGTH = 300
NAME_LENGTH = 200
TAG_LENGTH = 60
URL_LENGTH = 2_000
MOST_PLACES = 50
MOST_TAGS = 50

Interval = Literal["hour", "day", "week", "month", "year"]

_REMOTE = re.compile(r"(?<!non-)(?<!not )(?<!no )\bremote\b", re.IGNORECASE)
_YEARS = range(1990, 2100)
_NOWHERE = frozenset({"", "n/a", "na", "tbd", "-"})
_GENDERS = re.compile(r"[(\[]?\b[mfwdx](?:\s?[/|*]\s?[mfwdx]){1,3}\b[)\]]?", re.IGNORECASE)
_LEGAL_FORM = re.compile(r"( (inc|incorporated|llc|ltd|limited|gmbh|ag|se|bv|sa|sas|plc|corp|corporation|co))+$")


@dataclass(frozen=True)
class Salary:
    """What a posting says it pays: at least one bound, `currency` an ISO 4217 code; what is not said is None."""

    minimum: float | None
    maximum: float | None
    currency: str | None
    interval: Interval | None


@dataclass(frozen=True)
class Posting:
    """An open position as one board shows it; what the board does not say stays unknown (None, "" or empty).

    `external_id` is unique only inside (source, board). `text` is plain text, to be escaped when shown. `posted_at` is
    the board's own word and has an offset. `language` is an ISO 639-1 code such as `de`.
    """

    source: str
    board: str
    external_id: str
    url: str
    title: str
    company: str
    departments: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    remote: bool | None = None
    text: str = ""
    posted_at: datetime | None = None
    salary: Salary | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None

    def content_hash(self) -> str:
        """32 hexadecimal digits over everything that a reader sees; a board's own change stamps have no part in it."""
        own = {"source", "board", "external_id"}
        seen = {name: value for name, value in asdict(self).items() if name not in own}
        seen["posted_at"] = None if self.posted_at is None else self.posted_at.timestamp()
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]

    def twin_key(self) -> int:
        """The same 64-bit number for the same company, title and places, however a source writes them.

        Legal forms, marks such as `(m/f/d)`, punctuation and what follows a comma in a place have no part in it.
        """
        company = _LEGAL_FORM.sub("", _key(self.company))
        places = sorted({_key(place.partition(",")[0]) for place in self.places})
        same = "\n".join([company, _key(_GENDERS.sub(" ", self.title)), *places])
        return int.from_bytes(hashlib.sha256(same.encode()).digest()[:8], signed=True)

    def columns(self) -> dict[str, Any]:
        """As JSON for store.sql.

        `places_key` has the places folded, one a line: looking for one is a plain substring match, the same in a
        database of any locale.
        """
        salary = self.salary or Salary(None, None, None, None)
        return {
            "external_id": self.external_id,
            "url": self.url,
            "title": self.title,
            "company": self.company,
            "departments": list(self.departments),
            "places": list(self.places),
            "places_key": "\n".join(fold(place) for place in self.places),
            "remote": self.remote,
            "text": self.text,
            "posted_at": None if self.posted_at is None else self.posted_at.isoformat(),
            "salary_min": salary.minimum,
            "salary_max": salary.maximum,
            "salary_currency": salary.currency,
            "salary_interval": salary.interval,
            "tags": list(self.tags),
            "language": self.language,
            "twin_key": self.twin_key(),
            "content_hash": self.content_hash(),
        }


def clean_names(names: Iterable[str | None], *, length: int = NAME_LENGTH, most: int = MOST_PLACES) -> tuple[str, ...]:
    """Names of places, departments or tags, each once and storable; those that say nothing are left out."""
    parts = (clean(name, length) for name in names if name)
    return tuple(dict.fromkeys(part for part in parts if part.lower() not in _NOWHERE))[:most]


def clean_tags(tags: Iterable[str | None]) -> tuple[str, ...]:
    """Tags as they are written, each once whatever its case."""
    named = clean_names(tags, length=TAG_LENGTH, most=MOST_TAGS)
    return tuple({fold(tag): tag for tag in reversed(named)}.values())[::-1]


def split_places(text: str | None) -> tuple[str, ...]:
    """Places as boards write them in one field; only `;`, `|` and line ends part them, a comma is inside a name."""
    return clean_names(re.split(r"[;|\n]", text or ""))


def says_remote(place: str) -> bool:
    """Whether the name of a place says that the work can be done from afar."""
    return _REMOTE.search(place) is not None


def read_language(code: object) -> str | None:
    """The ISO 639-1 part of a language tag such as `en-GB`; None for anything else."""
    found = re.match(r"([A-Za-z]{2})(?:[-_].*)?$", code) if isinstance(code, str) else None
    return found.group(1).lower() if found else None


def read_date(text: object, *, naive: bool = False) -> datetime | None:
    """An ISO date and time with its offset, or in UTC if it is `naive`; any other, and impossible years, is unknown."""
    try:
        date = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if date is not None and naive and date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    known = date is not None and date.tzinfo is not None and date.year in _YEARS
    return date if known else None


def read_epoch(seconds: object) -> datetime | None:
    """A time in seconds since 1970; any other, and impossible years, is unknown."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        date = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return date if date.year in _YEARS else None


def _key(text: str) -> str:
    return " ".join(re.findall(r"\w+", fold(text)))
