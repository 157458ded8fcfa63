from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinds.job_search.posting import Salary, read_date, says_remote, split_places
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
        {"salary": Salary(1, None, "EUR", "year")},
        {"tags": ("Rust",)},
        {"language": "de"},
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


# The same position, whoever lists it ----------------------------------------------------------------------------------

BAKER = make_posting(title="Baker, Nights", company="Acme Inc.", places=("Oslo, Norway", "Bergen"))


@pytest.mark.parametrize(
    "change",
    [
        {"source": "lever", "board": "other", "external_id": "9", "url": "https://example.com/9"},
        {"company": "ACME"},
        {"company": "Acme GmbH"},
        {"company": "acmé, ltd."},
        {"title": "Baker - nights (m/f/d)"},
        {"title": "BAKER NIGHTS [w/m]"},
        {"places": ("Bergen", "Oslo")},
        {"places": ("Bergen, Vestland", "oslo", "Oslo, NO")},
        {"text": "other words", "remote": True, "tags": ("Bread",), "posted_at": POSTED},
    ],
)
def test_a_twin_is_the_same_company_title_and_places_however_they_are_written(change: dict[str, Any]) -> None:
    assert replace(BAKER, **change).twin_key() == BAKER.twin_key()


@pytest.mark.parametrize(
    "change",
    [
        {"company": "Acme Bread"},
        {"title": "Baker, Days"},
        {"title": "Baker Nights II"},
        {"places": ("Oslo, Norway",)},
        {"places": ()},
        {"places": ("Oslo, Norway", "Bergen", "Tromsø")},
    ],
)
def test_another_company_title_or_place_is_no_twin(change: dict[str, Any]) -> None:
    assert replace(BAKER, **change).twin_key() != BAKER.twin_key()


def test_the_parts_of_a_twin_key_do_not_run_into_each_other() -> None:
    one, other = make_posting(company="Acme", title="Night Baker"), make_posting(company="Acme Night", title="Baker")
    assert one.twin_key() != other.twin_key()
    assert make_posting(company="Co").twin_key() != make_posting(company="Inc").twin_key()


def test_a_stored_twin_key_is_that_of_every_process_and_release() -> None:
    """Another number here means that twins are not known as such until both boards were fetched anew."""
    posting = make_posting(title="Baker", company="Acme Inc.", places=("Oslo", "Bergen", "Tromsø", "Ås", "Bodø"))
    assert posting.twin_key() == -1412796621839684968


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_every_posting_has_a_twin_key_that_postgres_can_hold(title: str, company: str, places: list[str]) -> None:
    key = make_posting(title=title, company=company, places=tuple(places)).twin_key()
    assert -(2**63) <= key < 2**63
