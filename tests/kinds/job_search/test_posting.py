from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kinds.job_search.posting import read_date, says_remote, split_places
from tests.kinds.job_search.support import make_posting

POSTED = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Berlin, Germany ", ("Berlin, Germany",)),
        ("Remote, Canada; Remote, US", ("Remote, Canada", "Remote, US")),
        ("San Francisco, CA | New York City, NY", ("San Francisco, CA", "New York City, NY")),
        ("London/Dublin", ("London/Dublin",)),
        ("Oslo;Oslo;; ", ("Oslo",)),
        ("N/A", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_places(text: str | None, places: tuple[str, ...]) -> None:
    assert split_places(text) == places


@pytest.mark.parametrize(
    ("place", "remote"),
    [
        ("Remote - Germany", True),
        ("US-Remote", True),
        ("Remote-Friendly, United States", True),
        ("Berlin", False),
        ("Remotely, Wales", False),
        ("Berlin (non-remote)", False),
        ("Not remote", False),
    ],
)
def test_a_place_says_remote_only_as_a_word_of_its_own(place: str, remote: bool) -> None:
    assert says_remote(place) is remote


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://example.com/moved"},
        {"title": "Senior Engineer"},
        {"company": "Acme Ltd"},
        {"departments": ("Sales",)},
        {"places": ("Oslo",)},
        {"remote": False},
        {"text": "More words"},
        {"posted_at": POSTED},
    ],
)
def test_the_hash_changes_with_everything_a_reader_sees(change: dict[str, Any]) -> None:
    posting = make_posting()
    assert replace(posting, **change).content_hash() != posting.content_hash()


def test_the_hash_is_of_the_instant_and_not_of_its_zone() -> None:
    elsewhere = POSTED.astimezone(timezone(timedelta(hours=-4)))
    assert make_posting(posted_at=POSTED).content_hash() == make_posting(posted_at=elsewhere).content_hash()


@pytest.mark.parametrize(
    "value", [None, 5, "", "soon", "2026-08-01", "2026-08-01T08:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_date_without_offset_or_sense_is_unknown(value: object) -> None:
    assert read_date(value) is None


def test_a_date_with_its_offset_is_read() -> None:
    assert read_date("2026-08-01T08:00:00-04:00") == POSTED
