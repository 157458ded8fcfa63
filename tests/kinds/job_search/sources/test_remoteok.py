import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kinds.job_search.posting import Posting, Salary
from kinds.job_search.sources import Fetched
from kinds.job_search.sources.base import NEWEST
from kinds.job_search.sources.remoteok import read_answer
from tests.kinds.job_search.sources.support import REMOTEOK_JOB, REMOTEOK_NOTICE, JsonServer, ask, words, words_in

RECORDED = Path("jobs", "recorded", "lcarlini", "raw_remoteok.json")
DONT = "don\N{RIGHT SINGLE QUOTATION MARK}t"


def read_one(**fields: Any) -> Posting:
    [posting] = read_answer(NEWEST, [REMOTEOK_NOTICE, REMOTEOK_JOB | fields]).postings
    return posting


def test_a_posting_is_normalised() -> None:
    with JsonServer(lambda url: [REMOTEOK_NOTICE, REMOTEOK_JOB]) as server:
        fetched = ask("remoteok", NEWEST, server)
    [posting] = fetched.postings
    assert server.asked == ["/api"]
    assert not fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("remoteok", "newest", "1199001")
    assert posting.url == REMOTEOK_JOB["url"]
    assert (posting.title, posting.company) == ("Recipe Writer", "Rye & Sons")
    assert posting.departments == ()
    assert posting.places == ("Oslo",)
    assert posting.remote is True
    assert posting.posted_at == datetime(2026, 7, 1, 6, tzinfo=UTC)
    assert posting.salary == Salary(40_000, 50_000, "USD", "year")
    assert posting.tags == ("writing", "food")
    assert posting.text == "Write about bread.\nEvery day."


@pytest.mark.parametrize(
    "answer",
    [[REMOTEOK_JOB], [REMOTEOK_JOB, REMOTEOK_NOTICE], [REMOTEOK_NOTICE, REMOTEOK_JOB | {"legal": "Team"}]],
)
def test_the_notice_is_known_by_what_it_is(answer: list[Any]) -> None:
    assert [posting.external_id for posting in read_answer(NEWEST, answer).postings] == ["1199001"]


def test_a_notice_alone_is_an_empty_feed() -> None:
    assert read_answer(NEWEST, [REMOTEOK_NOTICE]) == Fetched((), complete=False)


@pytest.mark.parametrize(
    ("low", "high", "salary"),
    [
        (0, 0, None),
        (None, None, None),
        ("60000", 7, Salary(None, 7, "USD", "year")),
        (0, 90_000, Salary(None, 90_000, "USD", "year")),
        (60_000, 0, Salary(60_000, None, "USD", "year")),
        (90_000, 60_000, Salary(60_000, 90_000, "USD", "year")),
    ],
)
def test_a_salary_of_nothing_is_unknown(low: object, high: object, salary: Salary | None) -> None:
    assert read_one(salary_min=low, salary_max=high).salary == salary


@pytest.mark.parametrize(
    ("location", "places"),
    [
        ("", ()),
        (None, ()),
        (", ", ()),
        ("Oslo, ", ("Oslo",)),
        ("Oslo, Norway", ("Oslo, Norway",)),
        ("Earth", ("Earth",)),
    ],
)
def test_a_place_may_lack_its_country(location: str | None, places: tuple[str, ...]) -> None:
    assert read_one(location=location).places == places


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (DONT.encode().decode("latin-1"), DONT),
        (DONT.encode().decode("cp1252"), DONT),
        ("Zürich".encode().decode("latin-1"), "Zürich"),
        ("Zürich", "Zürich"),
        (DONT, DONT),
        ("Zürich \N{RIGHT SINGLE QUOTATION MARK}".encode().decode("cp1252") + "\N{SNOWMAN}", None),
        ("plain", "plain"),
    ],
)
def test_text_that_was_read_as_latin_1_is_mended(sent: str, meant: str | None) -> None:
    posting = read_one(position=sent, company=sent, location=sent, description=f"<p>{sent}</p>", tags=[sent])
    meant = sent if meant is None else meant
    assert (posting.title, posting.company, posting.places) == (meant, meant, (meant,))
    assert (posting.text, posting.tags) == (meant, (meant,))


@pytest.mark.parametrize("date", ["", None, "2026-07-01T06:00:00", 7])
def test_the_seconds_stand_in_for_a_date(date: object) -> None:
    assert read_one(date=date).posted_at == datetime(2026, 7, 1, 6, tzinfo=UTC)
    assert read_one(date=date, epoch="soon").posted_at is None


def test_recorded_postings_say_what_the_raw_ones_do(data: Path) -> None:
    recorded = json.loads((data / RECORDED).read_text())
    fetched = read_answer(NEWEST, recorded)
    for raw, posting in zip(recorded[1:], fetched.postings, strict=True):
        assert (posting.external_id, posting.title, posting.company) == (raw["id"], raw["position"], raw["company"])
        assert posting.url == raw["url"].replace("remoteOK.com", "remoteok.com")
        assert posting.places == (raw["location"].removesuffix(", "),)
        assert posting.posted_at == datetime.fromisoformat(raw["date"])
        assert posting.posted_at.timestamp() == raw["epoch"]
        assert (posting.remote, posting.salary) == (True, None)
        assert posting.tags == tuple(raw["tags"])
        assert words(posting.text) == words_in(raw["description"].encode("latin-1").decode())
        assert "\N{LATIN SMALL LETTER A WITH CIRCUMFLEX}\x80" not in posting.text
