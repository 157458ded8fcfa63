import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kinds.job_search.posting import Salary
from kinds.job_search.sources import Fetched
from kinds.job_search.sources.ashby import read_answer
from kinds.job_search.sources.errors import UnknownBoardError
from tests.kinds.job_search.sources.support import ASHBY_JOB, Json, JsonServer, ask, words, words_in

RECORDED = {
    "ramp": Path("jobs", "recorded", "aws-job-streamer", "ashby_jobs.json"),
    "truelogic": Path("jobs", "recorded", "lcarlini", "raw_ashby.json"),
}


def read(*jobs: Any) -> Fetched:
    return read_answer("ryeandsons", {"jobs": list(jobs)})


def test_a_posting_is_normalised() -> None:
    with JsonServer(lambda url: {"apiVersion": "1", "jobs": [ASHBY_JOB]}) as server:
        fetched = ask("ashby", "ryeandsons", server)
    [posting] = fetched.postings
    assert server.asked == ["/posting-api/job-board/ryeandsons?includeCompensation=true"]
    assert fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("ashby", "ryeandsons", ASHBY_JOB["id"])
    assert posting.url == ASHBY_JOB["jobUrl"]
    assert (posting.title, posting.company) == ("Baker", "ryeandsons")
    assert posting.departments == ("Kitchen", "Ovens")
    assert posting.places == ("Oslo", "Trondheim")
    assert posting.remote is False
    assert posting.posted_at == datetime(2026, 7, 1, 6, 0, 0, 500_000, UTC)
    assert posting.salary == Salary(420_000, 510_000, "NOK", "year")
    assert posting.tags == ("FullTime",)
    assert posting.text == "Rye & Sons\nWe bake bread."


def test_a_job_that_is_not_listed_is_nobodys_business() -> None:
    hidden = ASHBY_JOB | {"id": "hidden", "isListed": False}
    fetched = read(ASHBY_JOB, hidden)
    assert [posting.external_id for posting in fetched.postings] == [ASHBY_JOB["id"]]
    assert fetched.complete
    assert read(hidden) == Fetched((), complete=True)


@pytest.mark.parametrize("listed", [True, None, "no"])
def test_only_false_hides_a_job(listed: object) -> None:
    assert len(read(ASHBY_JOB | {"isListed": listed}).postings) == 1


def test_an_empty_list_may_be_a_board_that_is_gone() -> None:
    with (
        JsonServer(lambda url: {"jobs": []}) as server,
        pytest.raises(UnknownBoardError, match=r"^Ashby board 'ryeandsons' does not exist or lists nothing") as caught,
    ):
        ask("ashby", "ryeandsons", server)
    assert not caught.value.retry


def test_a_board_that_nobody_has_does_not_exist() -> None:
    with JsonServer(lambda url: None) as server, pytest.raises(UnknownBoardError, match="'nowhere' does not exist"):
        ask("ashby", "nowhere", server)


@pytest.mark.parametrize(
    ("place", "workplace", "flag", "remote"),
    [
        ("Oslo", "Remote", True, True),
        ("Oslo", "Remote", None, True),
        ("Oslo", "Hybrid", False, False),
        ("Oslo", "Hybrid", True, True),
        ("Oslo", "OnSite", None, False),
        ("Oslo", None, True, True),
        ("Oslo", None, False, False),
        ("Oslo", None, None, None),
        ("Oslo", "Spaceship", None, None),
        ("Remote (NO)", "OnSite", False, True),
    ],
)
def test_remote_is_known_only_when_said(
    place: str, workplace: str | None, flag: bool | None, remote: bool | None
) -> None:
    job = ASHBY_JOB | {"location": place, "workplaceType": workplace, "isRemote": flag}
    assert read(job).postings[0].remote is remote


def pay(low: object, high: object, currency: str = "NOK", interval: str = "1 YEAR", kind: str = "Salary") -> Json:
    return {
        "compensationType": kind,
        "minValue": low,
        "maxValue": high,
        "currencyCode": currency,
        "interval": interval,
    }


@pytest.mark.parametrize(
    ("summary", "tiers", "salary"),
    [
        ([pay(5, 9, kind="Bonus"), pay(400, 500)], [], Salary(400, 500, "NOK", "year")),
        ([pay(400, 500), pay(300, 450)], [], Salary(300, 500, "NOK", "year")),
        ([pay(400, 500), pay(1, 900, "USD"), pay(1, 900, interval="1 HOUR")], [], Salary(400, 500, "NOK", "year")),
        ([pay(400, 500)], [[pay(100, 900)]], Salary(400, 500, "NOK", "year")),
        ([], [[pay(400, 500)], [pay(5, 9, kind="EquityCashValue"), pay(450, 700)]], Salary(400, 700, "NOK", "year")),
        ([pay(None, None)], [[pay(None, 700, interval="1 HOUR")]], Salary(None, 700, "NOK", "hour")),
        ([pay(400, None), pay(None, 600)], [], Salary(400, 600, "NOK", "year")),
        ([pay(9, 9, kind="Bonus")], [], None),
        (None, None, None),
        ("much", [], None),
        ([pay("much", 5)], [], None),
    ],
)
def test_the_salary_is_the_span_in_one_currency_and_interval(summary: Any, tiers: Any, salary: Salary | None) -> None:
    parts = tiers and [{"components": components} for components in tiers]
    fetched = read(ASHBY_JOB | {"compensation": {"summaryComponents": summary, "compensationTiers": parts}})
    assert fetched.postings[0].salary == salary
    assert fetched.complete


def test_pay_that_the_company_does_not_show_is_not_shown() -> None:
    pay = {"summaryComponents": [{"compensationType": "Salary", "currencyCode": "EUR", "minValue": 5, "maxValue": 6}]}
    job = ASHBY_JOB | {"compensation": pay}
    assert read(job).postings[0].salary is not None
    assert read(job | {"shouldDisplayCompensationOnJobPostings": False}).postings[0].salary is None


@pytest.mark.parametrize("board", RECORDED)
def test_recorded_postings_say_what_the_raw_ones_do(data: Path, board: str) -> None:
    recorded = json.loads((data / RECORDED[board]).read_text())
    fetched = read_answer(board, recorded)
    assert fetched.complete
    for raw, posting in zip(recorded["jobs"], fetched.postings, strict=True):
        assert (posting.external_id, posting.url, posting.title) == (raw["id"], raw["jobUrl"], raw["title"])
        assert posting.company == board
        assert posting.departments == tuple(dict.fromkeys([raw["department"], raw["team"]]))
        assert posting.places == (raw["location"], *(place["location"] for place in raw["secondaryLocations"]))
        assert posting.remote is raw["isRemote"]
        assert posting.posted_at == datetime.fromisoformat(raw["publishedAt"])
        assert posting.tags == (raw["employmentType"],)
        assert posting.salary == salary_in(raw)
        assert words(posting.text) == words_in(raw["descriptionHtml"])


def salary_in(raw: dict[str, Any]) -> Salary | None:
    """The span of the one summary that recorded jobs have."""
    parts = raw.get("compensation", {}).get("summaryComponents", [])
    amounts = [(part["minValue"], part["maxValue"]) for part in parts if part["compensationType"] == "Salary"]
    return Salary(*amounts[0], "USD", "year") if amounts else None
