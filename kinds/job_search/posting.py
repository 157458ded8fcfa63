"""One `Posting`, whatever board it came from, and the rules that normalise its fields."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import StringConstraints

from kinds.job_search.text import clean, fold

# A name, never a path or an address: it becomes one segment of the URL that is asked.
BoardName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

TITLE_LENGTH = 300
NAME_LENGTH = 200
URL_LENGTH = 2_000
MOST_PLACES = 50

_REMOTE = re.compile(r"(?<!non-)(?<!not )(?<!no )\bremote\b", re.IGNORECASE)
_YEARS = range(1990, 2100)
_NOWHERE = frozenset({"", "n/a", "na", "tbd", "-"})


@dataclass(frozen=True)
class Posting:
    """An open position as one board shows it; what the board does not say stays unknown (None, "" or empty).

    `external_id` is unique only inside (source, board). `text` is plain text, to be escaped when shown. `posted_at` is
    the board's own word and has an offset.
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

    def content_hash(self) -> str:
        """32 hexadecimal digits over everything that a reader sees; a board's own change stamps have no part in it."""
        posted = None if self.posted_at is None else self.posted_at.timestamp()
        seen = (self.url, self.title, self.company, self.departments, self.places, self.remote, self.text, posted)
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]

    def columns(self) -> dict[str, Any]:
        """As JSON for store.sql.

        `places_key` has the places folded, one a line: looking for one is a plain substring match, the same in a
        database of any locale.
        """
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
            "content_hash": self.content_hash(),
        }


def split_places(text: str | None) -> tuple[str, ...]:
    """Places as boards write them in one field; only `;`, `|` and line ends part them, a comma is inside a name."""
    parts = (clean(part, NAME_LENGTH) for part in re.split(r"[;|\n]", text or ""))
    return tuple(dict.fromkeys(part for part in parts if part.lower() not in _NOWHERE))[:MOST_PLACES]


def says_remote(place: str) -> bool:
    """Whether the name of a place says that the work can be done from afar."""
    return _REMOTE.search(place) is not None


def read_date(text: object) -> datetime | None:
    """An ISO date and time with its offset; anything else, and any year that can't be meant, is unknown."""
    try:
        date = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    known = date is not None and date.tzinfo is not None and date.year in _YEARS
    return date if known else None
