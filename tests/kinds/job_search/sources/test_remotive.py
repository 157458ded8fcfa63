import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kinds.job_search.posting import Salary
from kinds.job_search.sources import SOURCES
from kinds.job_search.sources.base import NEWEST
from kinds.job_search.sources.remotive import read_answer
from tests.kinds.job_search.sources.support import REMOTIVE_JOB, JsonServer, ask, words, words_in

RECORDED = (
    Path("jobs", "recorded", "aws-job-streamer", "remotive_jobs.json"),
    Path("jobs", "recorded", "lcarlini", "raw_remotive.json"),
)
CUT = 400  # some were recorded so far only, in the middle of a tag
SALARIES = {
    "": None,
    "$150k - $230k": Salary(150_000, 230_000, "USD", "year"),
    "$80k - $100k": Salary(80_000, 100_000, "USD", "year"),
    "$90 - $150 /hour": Salary(90, 150, "USD", "hour"),
    "$18 - $22/hr": Salary(18, 22, "USD", "hour"),
    "$45,000 - $50,000": Salary(45_000, 50_000, "USD", "year"),
    "$14/hr": Salary(14, None, "USD", "hour"),
}


def test_a_posting_is_normalised() -> None:
    with JsonServer(lambda url: {"0-legal-notice": "Name us.", "job-count": 1, "jobs": [REMOTIVE_JOB]}) as server:
        fetched = ask("remotive", NEWEST, server)
    [posting] = fetched.postings
    assert server.asked == ["/api/remote-jobs"]
    assert not fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("remotive", "newest", "2099001")
    assert posting.url == REMOTIVE_JOB["url"]
    assert (posting.title, posting.company) == ("Recipe Writer", "Rye & Sons")
    assert posting.departments == ("Writing",)
    assert posting.places == ("Americas", "Europe", "Israel")
    assert posting.remote is True
    assert posting.posted_at == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert posting.salary == Salary(30, 40, "USD", "hour")
    assert posting.tags == ("bread", "Baking", "part_time")
    assert posting.text == "Write about bread."


def test_it_is_asked_four_times_a_day_and_never_twice_a_minute() -> None:
    source = SOURCES["remotive"]
    assert source.calls_a_day == 4
    assert source.freshness * 4 >= timedelta(days=1)
    assert source.gap >= timedelta(seconds=30)


@pytest.mark.parametrize(
    ("field", "value"),
    [("salary", 90), ("salary", "competitive"), ("salary", None), ("tags", "bread"), ("tags", [7])],
)
def test_what_a_posting_can_do_without_does_not_spoil_it(field: str, value: Any) -> None:
    [posting] = read_answer(NEWEST, {"jobs": [REMOTIVE_JOB | {field: value}]}).postings
    assert posting.salary is None if field == "salary" else posting.tags == ("part_time",)


def test_recorded_postings_say_what_the_raw_ones_do(data: Path) -> None:
    recorded = [job for path in RECORDED for job in json.loads((data / path).read_text())["jobs"]]
    fetched = read_answer(NEWEST, {"jobs": recorded})
    assert len(recorded) == 9
    for raw, posting in zip(recorded, fetched.postings, strict=True):
        assert (posting.external_id, posting.url, posting.title) == (str(raw["id"]), raw["url"], raw["title"])
        assert posting.company == raw["company_name"]
        assert posting.departments == (raw["category"],)
        assert posting.places == tuple(raw["candidate_required_location"].split(", "))
        assert posting.remote is True
        assert posting.posted_at == datetime.fromisoformat(raw["publication_date"] + "+00:00")
        assert posting.salary == SALARIES[raw["salary"]]
        tags = {tag.strip().lower() for tag in [*raw["tags"], raw["job_type"]] if tag}
        assert {tag.lower() for tag in posting.tags} == tags
        if len(raw["description"]) != CUT:
            assert words(posting.text) == words_in(raw["description"])
