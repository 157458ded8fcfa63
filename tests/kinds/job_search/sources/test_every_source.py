"""What holds for every adapter, whatever it is sent."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinds.job_search.posting import Posting
from kinds.job_search.sources import SOURCES, Fetched
from kinds.job_search.sources.base import NEWEST
from kinds.job_search.sources.errors import SourceError, UnknownBoardError, UnusableAnswerError
from kinds.job_search.sources.reading import MOST_POSTINGS
from tests.kinds.job_search.sources.support import CASES, Case, Json

COMPLETE = {"greenhouse", "lever", "ashby"}

every_source = pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


def paths(value: Any) -> list[tuple[Any, ...]]:
    """Where every value in some JSON lies, from the whole to the leaves."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [(), *((key, *path) for key, part in inner for path in paths(part))]


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """The same JSON with another value in that place."""
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


def check(posting: Posting, case: Case) -> None:
    """A posting that the store can keep and a page can show."""
    json.dumps(posting.columns(), allow_nan=False).encode()
    assert "\\u0000" not in json.dumps(posting.columns())
    assert (posting.source, posting.board) == (case.source, case.board)
    assert posting.url.startswith(("http://", "https://"))
    assert 0 < len(posting.external_id) <= 200


def read(case: Case, answer: Any) -> Fetched | None:
    """What is read of the answer; None when it is refused in words."""
    try:
        fetched = case.read(case.board, answer)
    except SourceError as error:
        said = error.message
    else:
        return checked(fetched, case)
    assert said.startswith(SOURCES[case.source].describe(case.board))
    return None


def checked(fetched: Fetched, case: Case) -> Fetched:
    for posting in fetched.postings:
        check(posting, case)
    assert len({posting.external_id for posting in fetched.postings}) == len(fetched.postings)
    return fetched


def test_a_case_for_every_source() -> None:
    assert [case.source for case in CASES] == list(SOURCES)


@every_source
def test_its_words_and_limits_are_there(case: Case) -> None:
    source = SOURCES[case.source]
    assert source.name == case.source
    assert source.url.startswith("https://")
    assert source.attribution.endswith(".")
    assert source.terms.endswith(".")
    assert (source.boards is None) == (case.source in COMPLETE)
    if case.board == NEWEST:
        assert source.boards is not None
        assert list(source.boards("baker", "Oslo")) == [NEWEST]


@every_source
@given(answer=values)
def test_arbitrary_json_is_read_or_refused(case: Case, answer: Any) -> None:
    read(case, answer)
    read(case, case.wrap([answer]))


@every_source
@settings(max_examples=200)
@given(data=st.data())
def test_a_value_of_any_kind_in_any_place_does_no_harm(case: Case, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(paths(case.job)))
    fetched = read(case, case.wrap([case.job | {case.id: "other"}, replaced(case.job, path, data.draw(values))]))
    assert fetched
    assert "other" in {posting.external_id for posting in fetched.postings}


@every_source
def test_an_answer_is_complete_only_where_the_source_lists_everything(case: Case) -> None:
    fetched = case.read_jobs(case.job)
    assert len(fetched.postings) == 1
    assert fetched.complete == (case.source in COMPLETE)


@every_source
@pytest.mark.parametrize("answer", [None, {}, "", 7, {"jobs": None, "data": {}}], ids=repr)
def test_an_answer_without_a_list_is_unusable(case: Case, answer: Any) -> None:
    with pytest.raises(UnusableAnswerError, match="no list of jobs"):
        case.read(case.board, answer)


@every_source
def test_an_empty_answer_closes_everything_only_where_that_can_be_believed(case: Case) -> None:
    if case.source == "ashby":
        with pytest.raises(UnknownBoardError, match="'ryeandsons' does not exist or lists nothing"):
            case.read_jobs()
    else:
        assert case.read_jobs() == Fetched((), complete=case.source in COMPLETE)


def broken(case: Case) -> dict[str, Any]:
    """The good job, made unreadable in one way or another."""
    other = case.job | {case.id: "2"}
    return {
        "no object": "Baker",
        "no id": {name: value for name, value in case.job.items() if name != case.id},
        "long id": other | {case.id: "x" * 201},
        "id with a NUL": other | {case.id: "a\0b"},
        "no title": other | {case.title: None},
        "script address": other | {case.url: "javascript:alert(1)"},
        "data address": other | {case.url: "data:text/html,hello"},
        "file address": other | {case.url: "file:///etc/passwd"},
        "no address": other | {case.url: "jobs/7"},
        "description of another form": other | {case.html: ["Bread"]},
    }


@every_source
@pytest.mark.parametrize("fault", list(broken(CASES[0])))
def test_one_broken_job_among_good_ones_is_left_out_and_nothing_closes(case: Case, fault: str) -> None:
    third = case.job | {case.id: "3"}
    fetched = case.read_jobs(case.job, broken(case)[fault], third)
    assert [posting.external_id for posting in fetched.postings] == [str(case.job[case.id]), "3"]
    assert not fetched.complete
    with pytest.raises(UnusableAnswerError, match="1 jobs in a form that is not known"):
        case.read_jobs(broken(case)[fault])


@every_source
def test_an_id_listed_twice_is_one_posting_at_both_places(case: Case) -> None:
    again: Json = case.job | case.move | {case.title: "Miller"}
    fetched = case.read_jobs(case.job, again)
    [posting] = fetched.postings
    assert posting.title == "Miller"
    assert posting.places == (*case.read_jobs(case.job).postings[0].places, "Bergen")
    assert fetched.complete == (case.source in COMPLETE)


@every_source
def test_no_markup_or_script_of_a_description_is_left(case: Case) -> None:
    html = "<p>Bread<script>alert(1)</script> &amp; <style>p {}</style><b onclick='go()'>water</b></p><!-- yeast -->"
    [posting] = case.read_jobs(case.job | {case.html: html}).postings
    assert posting.text.splitlines()[0] == "Bread & water"
    assert not any(word in posting.text for word in ("alert", "script", "{}", "onclick", "yeast"))


@every_source
def test_no_more_than_the_most_is_read(case: Case) -> None:
    job = case.job | {case.html: ""}
    fetched = case.read_jobs(*(job | {case.id: str(number)} for number in range(100_000)))
    assert len(fetched.postings) == MOST_POSTINGS
    assert not fetched.complete


@every_source
def test_what_is_not_said_is_unknown(case: Case) -> None:
    bare = {name: case.job[name] for name in (case.id, case.url, case.title)}
    [posting] = case.read_jobs(bare).postings
    always_remote = case.source in {"remotive", "remoteok"}
    assert posting.company == (case.board if case.source in COMPLETE else "")
    assert (posting.remote, posting.salary, posting.language) == (True if always_remote else None, None, None)
    assert (posting.places, posting.tags, posting.departments) == ((), (), ())
    assert (posting.text, posting.posted_at) == ("", None)
