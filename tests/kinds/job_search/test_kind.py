import subprocess
import sys
from typing import Any

import pytest

from kinds import JOB_SEARCH
from kinds.job_search.handler import search
from kinds.job_search.kind import JobSearch, JobSearchResult, SourceOutcome
from shared.errors import InvalidInputError
from shared.kinds import HEADLINE_LENGTH, load_registry


def test_the_registry_finds_it_and_its_handler() -> None:
    kind = load_registry(["kinds"]).get("job_search")
    assert kind is JOB_SEARCH
    assert kind.load_handler() is search


def test_listing_the_kind_imports_none_of_the_work() -> None:
    loaded = "import sys, kinds; print(*(name for name in sys.modules if name.startswith('kinds.job_search.')))"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert set(names) == {"kinds.job_search.kind", "kinds.job_search.posting", "kinds.job_search.text"}


def test_parameters_are_normalised() -> None:
    raw = {"query": "  python ", "location": " Oslo ", "companies": ["b", "a", "b"]}
    parsed = JOB_SEARCH.parse(raw)
    assert parsed == JobSearch(query="python", location="Oslo", companies=["a", "b"])
    assert parsed.model_dump(exclude_defaults=True) == {
        "query": "python",
        "location": "Oslo",
        "companies": ["a", "b"],
    }


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
        ("companies", ["x" * 65]),
        ("companies", [f"c{number}" for number in range(21)]),
        ("companies", "acme"),
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
    sources = [
        SourceOutcome(source="greenhouse", board="acme", outcome="failed" if why else "fetched", why=why)
        for why in whys
    ]
    return JobSearchResult(found=found, new=new, posting_ids=[], sources=sources)


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
