import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from kinds.job_search.posting import Salary
from kinds.job_search.sources import Fetched
from kinds.job_search.sources.errors import UnavailableError, UnknownBoardError, UnusableAnswerError
from kinds.job_search.sources.lever import PAGE, read_answer
from kinds.job_search.sources.reading import MOST_POSTINGS
from tests.kinds.job_search.sources.support import LEVER_JOB, JsonServer, ask, words, words_in

RECORDED = Path("jobs", "recorded", "aws-job-streamer", "lever_postings.json")


def site(jobs: list[Any]) -> JsonServer:
    """A server of one Lever site, `ryeandsons`."""

    def answer(url: httpx.URL) -> Any:
        if url.path != "/v0/postings/ryeandsons":
            return None
        assert url.params["mode"] == "json"
        skip, limit = int(url.params["skip"]), int(url.params["limit"])
        return jobs[skip : skip + limit]

    return JsonServer(answer)


def jobs(count: int) -> list[Any]:
    return [LEVER_JOB | {"id": str(number)} for number in range(count)]


def test_a_posting_is_normalised() -> None:
    with site([LEVER_JOB]) as server:
        fetched = ask("lever", "ryeandsons", server)
    [posting] = fetched.postings
    assert fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("lever", "ryeandsons", LEVER_JOB["id"])
    assert posting.url == LEVER_JOB["hostedUrl"]
    assert (posting.title, posting.company) == ("Baker", "ryeandsons")
    assert posting.departments == ("Kitchen", "Ovens")
    assert posting.places == ("Oslo", "Trondheim")
    assert posting.remote is False
    assert posting.posted_at == datetime(2026, 7, 1, 9, 0, 0, 500_000, UTC)
    assert posting.salary == Salary(420_000, 510_000, "NOK", "year")
    assert posting.tags == ("Full-time",)
    assert posting.text.splitlines() == [
        "We bake bread.",
        "What you'll do",
        "Knead",
        "Wait",
        "Who you are",
        "Up early",
        "We feed everybody.",
    ]


@pytest.mark.parametrize(
    ("place", "workplace", "remote"),
    [
        ("Oslo", "remote", True),
        ("Oslo", "hybrid", False),
        ("Oslo", "on-site", False),
        ("Oslo", "onsite", False),
        ("Oslo", "unspecified", None),
        ("Oslo", None, None),
        ("Oslo", ["remote"], None),
        ("Remote, Norway", "unspecified", True),
        ("Remote, Norway", "hybrid", True),
    ],
)
def test_remote_is_known_only_when_said(place: str, workplace: object, remote: bool | None) -> None:
    job = LEVER_JOB | {"categories": {"location": place}, "workplaceType": workplace}
    assert read_answer("ryeandsons", [job]).postings[0].remote is remote


@pytest.mark.parametrize(
    ("pay", "salary"),
    [
        ({"min": 180, "max": 220, "currency": "nok", "interval": "per-hour-wage"}, Salary(180, 220, "NOK", "hour")),
        ({"min": 180, "max": None, "currency": "kroner", "interval": "one-time"}, Salary(180, None, None, None)),
        ({"min": "much", "max": 0}, None),
        ("much", None),
        (None, None),
    ],
)
def test_a_salary_is_read_where_it_is_one(pay: object, salary: Salary | None) -> None:
    fetched = read_answer("ryeandsons", [LEVER_JOB | {"salaryRange": pay}])
    assert fetched.postings[0].salary == salary
    assert fetched.complete


@pytest.mark.parametrize("created", [10**400, -1, "yesterday", True, None, 1782896400, {}])
def test_a_time_that_is_none_is_unknown(created: object) -> None:
    fetched = read_answer("ryeandsons", [LEVER_JOB | {"createdAt": created}])
    assert fetched.postings[0].posted_at is None
    assert fetched.complete


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 50])
def test_pages_are_read_until_one_is_short(count: int) -> None:
    with site(jobs(count)) as server:
        fetched = ask("lever", "ryeandsons", server)
    assert [posting.external_id for posting in fetched.postings] == [str(number) for number in range(count)]
    assert fetched.complete
    assert len(server.asked) == count // PAGE + 1


def test_a_server_that_ignores_the_limit_has_said_everything() -> None:
    with JsonServer(lambda url: jobs(PAGE + 20)) as server:
        fetched = ask("lever", "ryeandsons", server)
    assert len(fetched.postings) == PAGE + 20
    assert fetched.complete
    assert len(server.asked) == 1


def test_a_server_that_repeats_a_page_is_left_alone() -> None:
    with JsonServer(lambda url: jobs(PAGE)) as server:
        fetched = ask("lever", "ryeandsons", server)
    assert len(fetched.postings) == PAGE
    assert not fetched.complete
    assert len(server.asked) == 2


def test_a_server_without_end_is_left_in_time() -> None:
    def more(url: httpx.URL) -> Any:
        skip = int(url.params["skip"])
        return [{**LEVER_JOB, "id": str(skip + number), "description": ""} for number in range(PAGE)]

    with JsonServer(more) as server:
        fetched = ask("lever", "ryeandsons", server, job_fetch_seconds=120)
    assert len(fetched.postings) == MOST_POSTINGS
    assert not fetched.complete
    assert len(server.asked) == MOST_POSTINGS // PAGE


def test_all_pages_together_have_the_time_of_one_board() -> None:
    def slowly(url: httpx.URL) -> Any:
        server.stopping.wait(0.4)
        return [LEVER_JOB | {"id": f"{url.params['skip']}-{number}"} for number in range(PAGE)]

    with (
        JsonServer(slowly) as server,
        pytest.raises(UnavailableError, match=r"^Lever board 'ryeandsons' did not answer within 1 s"),
    ):
        ask("lever", "ryeandsons", server, job_fetch_seconds=1)
    assert len(server.asked) > 1


def test_a_site_that_nobody_has_does_not_exist() -> None:
    with site([]) as server, pytest.raises(UnknownBoardError, match=r"^Lever board 'nowhere' does not exist"):
        ask("lever", "nowhere", server)


def test_an_empty_site_is_complete() -> None:
    with site([]) as server:
        assert ask("lever", "ryeandsons", server) == Fetched((), complete=True)


def test_a_later_page_that_is_no_list_spoils_the_answer() -> None:
    def answer(url: httpx.URL) -> Any:
        return jobs(PAGE) if url.params["skip"] == "0" else {"ok": False}

    with JsonServer(answer) as server, pytest.raises(UnusableAnswerError, match="no list of jobs"):
        ask("lever", "ryeandsons", server)


def test_a_posting_on_two_pages_is_one() -> None:
    with site([*jobs(PAGE), *jobs(1)]) as server:
        fetched = ask("lever", "ryeandsons", server)
    assert len(fetched.postings) == PAGE
    assert fetched.complete


def test_recorded_postings_say_what_the_raw_ones_do(data: Path) -> None:
    recorded = json.loads((data / RECORDED).read_text())
    fetched = read_answer("spotify", recorded)
    assert fetched.complete
    for raw, posting in zip(recorded, fetched.postings, strict=True):
        said = raw["categories"]
        assert (posting.external_id, posting.url, posting.title) == (raw["id"], raw["hostedUrl"], raw["text"])
        assert (posting.company, posting.board) == ("spotify", "spotify")
        assert posting.departments == (said["department"], said["team"])
        assert set(posting.places) == {said["location"], *said["allLocations"]}
        assert posting.places[0] == said["location"]
        assert posting.remote is (raw["workplaceType"] == "remote")
        assert posting.posted_at is not None
        assert abs(posting.posted_at.timestamp() * 1000 - raw["createdAt"]) < 1
        assert posting.posted_at.utcoffset() == timedelta(0)
        assert (posting.tags, posting.salary, posting.language) == ((said["commitment"],), None, None)
        assert words(posting.text) == words(plain(raw))


def plain(raw: dict[str, Any]) -> str:
    """The description as Lever itself writes it without markup, and the lists, which it has in HTML only."""
    lists = [f"{part['text']} {words_in(part['content'])}" for part in raw["lists"]]
    return " ".join([raw["descriptionPlain"], *lists, raw["additionalPlain"]])
