import subprocess
import sys
from typing import Any

import pytest

from kinds import JOB_SEARCH
from kinds.job_search.handler import search
from kinds.job_search.kind import BoardOutcome, JobSearch, JobSearchResult
from shared.errors import InvalidInputError
from shared.kinds import HEADLINE_LENGTH, load_registry


def test_the_registry_finds_it_and_its_handler() -> None:
    kind = load_registry(["kinds"]).get("job_search")
    assert kind is JOB_SEARCH
    assert kind.load_handler() is search


def test_listing_the_kind_imports_none_of_the_work() -> None:
    code = "import sys, kinds; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    work = {f"kinds.job_search.{name}" for name in ("handler", "fetching", "sharing", "index", "shelf", "query")}
    assert "kinds.job_search.sources.jobspy" in loaded
    assert not set(loaded) & {*work, "jobspy", "pandas", "numpy", "psycopg_pool"}


def test_parameters_are_normalised() -> None:
    companies = ["lever:b", "b", "greenhouse:a", "b", "a"]
    raw = {"query": "  python ", "location": " Oslo ", "companies": companies, "sources": ["lever", "ashby", "lever"]}
    parsed = JOB_SEARCH.parse(raw)
    assert parsed.model_dump(exclude_defaults=True) == {
        "query": "python",
        "location": "Oslo",
        "companies": ["a", "b", "lever:b"],
        "sources": ["ashby", "lever"],
    }


def test_the_longest_list_of_companies_is_twenty() -> None:
    names = [f"lever:c{number:02}" for number in range(20)]
    assert JobSearch(query="python", companies=names).companies == names


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("query", ""),
        ("query", "   "),
        ("query", "?!"),
        ("query", "x" * 201),
        ("query", "py\0thon"),
        ("query", "py\nthon"),
        ("query", "py\ud800thon"),
        ("query", 5),
        ("query", None),
        ("location", ""),
        ("location", "Os\0lo"),
        ("remote", "perhaps"),
        ("companies", []),
        ("companies", ["../admin"]),
        ("companies", ["https://example.com"]),
        ("companies", ["a b"]),
        ("companies", ["acme\n"]),
        ("companies", ["x" * 81]),
        ("companies", [".."]),
        ("companies", ["a/b"]),
        ("companies", ["lever:../admin"]),
        ("companies", ["lever:"]),
        ("companies", [":acme"]),
        ("companies", ["lever:a:b"]),
        ("companies", ["Lever:acme"]),
        ("companies", ["monster:acme"]),
        ("companies", ["remotive:acme"]),
        ("companies", ["jobspy:acme"]),
        ("companies", [f"c{number}" for number in range(21)]),
        ("companies", [f"c{number}" for number in range(500)]),
        ("companies", "acme"),
        ("sources", []),
        ("sources", ["monster"]),
        ("sources", ["Lever"]),
        ("sources", ["lever:acme"]),
        ("sources", ["../lever"]),
        ("sources", ["lever"] * 21),
        ("sources", "lever"),
        ("posted_within", 0),
        ("posted_within", 366),
        ("limit", 0),
        ("limit", 201),
        ("salary", 1),
    ],
)
def test_what_cannot_be_searched_for_is_refused_by_name(field: str, value: object) -> None:
    raw: dict[str, Any] = {"query": "python"} | {field: value}
    with pytest.raises(InvalidInputError) as caught:
        JOB_SEARCH.parse(raw)
    assert (caught.value.field or "").startswith(f"parameters.{field}")


def result(found: int, new: int, *whys: str | None) -> JobSearchResult:
    boards = [
        BoardOutcome(source="greenhouse", board="acme", outcome="failed" if why else "fetched", why=why) for why in whys
    ]
    return JobSearchResult(found=found, new=new, posting_ids=[], boards=boards, credits=[])


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        (result(12, 3, None), "12 jobs, 3 new"),
        (result(1, 0, None), "1 job, 0 new"),
        (result(0, 0), "0 jobs, 0 new"),
        (result(1200, 1100, "slow", None, None), "1,200 jobs, 1,100 new; 1 of 3 boards failed"),
    ],
)
def test_the_headline(outcome: JobSearchResult, headline: str) -> None:
    assert JOB_SEARCH.headline(outcome) == headline
    assert len(headline) <= HEADLINE_LENGTH


# What an installation can't serve ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "field", "title"),
    [
        ({"companies": ["acme", "ashby:acme"]}, "companies", "Ashby"),
        ({"sources": ["lever", "remotive"]}, "sources", "Remotive"),
        ({"companies": ["acme", "ashby:acme"], "sources": ["ashby"]}, "companies", "Ashby"),
    ],
)
def test_a_source_that_is_switched_off_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], field: str, title: str
) -> None:
    monkeypatch.setenv("JOB_SOURCES", "lever,greenhouse")
    with pytest.raises(InvalidInputError, match=f"parameters.{field}: {title} is switched off") as caught:
        JOB_SEARCH.check(JobSearch(query="python", **parameters))
    assert caught.value.field == f"parameters.{field}"
    assert caught.value.hint == "Sources that are on: lever, greenhouse (JOB_SOURCES)."


def test_sources_that_none_of_the_companies_is_on_are_refused() -> None:
    parameters = JobSearch(query="python", companies=["acme", "lever:acme"], sources=["ashby"])
    with pytest.raises(InvalidInputError, match="no company of this search is on ashby") as caught:
        JOB_SEARCH.check(parameters)
    assert caught.value.field == "parameters.sources"
    JOB_SEARCH.check(parameters.model_copy(update={"sources": ["ashby", "lever"]}))


def test_what_is_switched_on_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_SOURCES", "lever,greenhouse,remotive")
    for parameters in ({}, {"companies": ["acme", "lever:acme"]}, {"sources": ["remotive", "lever"]}):
        JOB_SEARCH.check(JobSearch.model_validate({"query": "python"} | parameters))


def test_a_stored_search_is_parsed_without_that_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_SOURCES", "greenhouse")
    assert JOB_SEARCH.parse({"query": "python", "companies": ["lever:acme"]}).companies == ["lever:acme"]
