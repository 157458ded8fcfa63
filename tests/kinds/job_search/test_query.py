"""What people type, against what Postgres' own websearch_to_tsquery makes of it."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinds.job_search.index import Index
from kinds.job_search.kind import JobSearch
from kinds.job_search.query import Branch, Query, look_up, parse_query
from shared.errors import InvalidInputError
from tests.kinds.job_search.support import ACME, make_posting, put
from tests.support import connect


def branches(text: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(branch.wanted, branch.unwanted) for branch in parse_query(text).branches]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("baker", [(("baker",), ())]),
        ("night baker", [(("night", "baker"), ())]),
        ('"night baker" oven', [(("night baker", "oven"), ())]),
        ("baker -chef", [(("baker",), ("chef",))]),
        ('baker -"head chef"', [(("baker",), ("head chef",))]),
        ("baker or chef", [(("baker",), ()), (("chef",), ())]),
        ("baker OR chef oven", [(("baker",), ()), (("chef", "oven"), ())]),
        ("or baker or", [(("baker",), ())]),
        ("baker or or chef", [(("baker",), ()), (("chef",), ())]),
        ('baker "or" chef', [(("baker", "or", "chef"), ())]),
        ("baker oral", [(("baker", "oral"), ())]),
        ("backend/api", [(("backend", "api"), ())]),
        ("vue.js", [(("vue", "js"), ())]),
        ('"vue.js"', [(("vue js",), ())]),
        ('oven "night baker', [(("oven", "night baker"), ())]),
        ('"', []),
        ('""', []),
        ("", []),
        ("baker -", [(("baker", "-"), ())]),
        ("c++ c#", [(("c++", "c#"), ())]),
    ],
)
def test_a_query_is_taken_apart(text: str, parsed: Any) -> None:
    assert branches(text) == parsed


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("baker", None),
        ("night baker", "night baker"),
        ("night -chef baker", "night baker"),
        ('"night baker"', None),
        ("night baker or chef", None),
        ("-night baker", None),
    ],
)
def test_the_words_in_a_row_are_a_phrase(text: str, phrase: str | None) -> None:
    assert parse_query(text).phrase == phrase


LOOKUPS = {"baker": "'baker'", "bakers": "'baker'", "chef": "'chef'", "the": "", "of": "", "the baker": "'baker'"} | {
    "baker chef": "'baker' <-> 'chef'",
    "baker bakers": "'baker' <-> 'baker'",
}


@pytest.mark.parametrize(
    ("text", "looked_up"),
    [
        ("baker", Query((Branch(("'baker'",), ()),), None)),
        ("the baker", Query((Branch(("'baker'",), ()),), None)),
        ("baker chef", Query((Branch(("'baker'", "'chef'"), ()),), "'baker' <-> 'chef'")),
        ("baker bakers", Query((Branch(("'baker'",), ()),), None)),
        ("baker or the", Query((Branch(("'baker'",), ()),), None)),
        ("baker -the", Query((Branch(("'baker'",), ()),), None)),
        ("baker -chef", Query((Branch(("'baker'",), ("'chef'",)),), None)),
        ("the of", None),
        ("-baker", None),
        ("the -baker", None),
        ("chef or -baker", None),
        ("", None),
    ],
)
def test_common_words_are_left_out_and_without_another_there_is_nothing_to_look_up(
    text: str, looked_up: Query | None
) -> None:
    lookups = LOOKUPS | {"the of": ""}
    assert look_up(parse_query(text), lookups) == looked_up


exact = settings(derandomize=True, deadline=None, database=None)


@settings(exact, max_examples=500)
@given(st.text() | st.lists(st.sampled_from("ab \"-/.OoRr'\\&|!()<>:*"), max_size=30).map("".join))
@example('"' * 200)
@example("-" * 200)
@example('-"' * 100)
def test_no_text_is_too_odd_to_be_taken_apart(text: str) -> None:
    query = parse_query(text)
    assert all(branch.wanted or branch.unwanted for branch in query.branches)
    assert all(word.strip() for word in query.words)
    assert look_up(query, dict.fromkeys(query.words | {query.phrase or ""}, "")) is None


def test_no_text_is_too_odd_to_be_searched_for(database_url: str) -> None:
    """Whatever the model lets in is answered, with postings or with what is wrong."""

    async def check(texts: list[str]) -> None:
        async with connect(database_url) as conn:
            await put(conn, make_posting("1", title="a b"))
            for text in texts:
                try:
                    parameters = JobSearch(query=text)
                except ValueError:
                    continue
                with suppress(InvalidInputError):
                    await Index().match(conn, parameters, [ACME], limit=10)
            await conn.rollback()

    odd = st.text(min_size=1, max_size=200) | st.lists(
        st.sampled_from("ab \"-/.OoRr'\\&|!()<>:*"), min_size=1, max_size=60
    ).map("".join)

    @settings(exact, max_examples=40)
    @given(st.lists(odd, min_size=1, max_size=8))
    def examples(texts: list[str]) -> None:
        asyncio.run(check(texts))

    examples()


# Against Postgres -----------------------------------------------------------------------------------------------------

# Stems, stop words, what is joined by a slash, a dot or a hyphen, signs, numbers, accents.
VOCABULARY = (
    *("baker", "bakers", "baking", "engineer", "Engineers", "the", "of", "and", "a", "senior", "night"),
    *("backend/api", "vue.js", "node.js", "full-stack", "stack", "C++", "c#", "3d", "Zürich", "it's", "R&D", "e-mail"),
)
# Where the two differ by design, or where neither is what anybody means, and so is not generated:
# - `a - b` and `a --b`: Postgres negates b in the first and twice in the second; here a minus is of what it touches.
# - `-R&D`: Postgres negates r and wants d; here a word is negated as a whole.
# - `or,`: Postgres takes an "or" with punctuation for the operator; here it is a word.
# - `a"b c"`: Postgres takes the quote into the word.
word = st.sampled_from(VOCABULARY)
quoted = st.lists(word, min_size=1, max_size=3).map(lambda words: f'"{" ".join(words)}"')
term = st.one_of(word, word, quoted)
part = st.one_of(
    term,
    term,
    term,
    st.sampled_from(["or", "OR", "oR"]),
    term.filter(lambda words: words != "R&D").map(lambda words: f"-{words}"),
)
queries = st.tuples(
    st.lists(part, min_size=1, max_size=6).map(" ".join), st.sampled_from(["", "", "", ' "', ' -"', ' "night baker'])
)
texts = st.lists(word, max_size=4).map(" ".join)
postings = st.lists(st.tuples(texts, texts, texts, texts), min_size=6, max_size=6)

FOUND = "select id from foxtrot.postings where search @@ foxtrot.search_query(%s)"
# '' when no word is left, 'T' when something that is only negated would have to be looked up.
NOTHING = "select querytree(foxtrot.search_query(%s)) in ('', 'T')"


def test_what_is_found_is_what_postgres_finds(database_url: str) -> None:
    found = refused = 0

    async def check(listed: list[tuple[str, ...]], asked: list[str]) -> None:
        nonlocal found, refused
        async with connect(database_url) as conn:
            index = Index()
            made = [
                make_posting(str(number), title=title, departments=(department,), tags=(tag,), text=text)
                for number, (title, department, tag, text) in enumerate(listed)
            ]
            await put(conn, *made)
            for text in asked:
                if not any(char.isalnum() for char in text):
                    continue
                ((nothing,),) = await rows_of(conn, NOTHING, text)
                if nothing:
                    refused += 1
                    with pytest.raises(InvalidInputError, match="no word to search for"):
                        await index.match(conn, JobSearch(query=text), [ACME], limit=100)
                    continue
                expected = {posting_id for (posting_id,) in await rows_of(conn, FOUND, text)}
                matched = await index.match(conn, JobSearch(query=text), [ACME], limit=100)
                assert set(matched.ids) == expected, text
                assert matched.found == len(matched.ids) == len(expected)
                found += 0 < len(expected) < len(listed)
            await conn.rollback()

    async def rows_of(conn: Any, query: str, text: str) -> Any:
        return await (await conn.execute(query, [text])).fetchall()

    @settings(exact, max_examples=80)
    @given(postings, st.lists(queries.map("".join), min_size=4, max_size=8))
    @example([("node js", "", "", ""), ("node", "", "", "js")] * 3, ['node js -"node js"', 'node.js -"node.js"'])
    def examples(listed: list[tuple[str, ...]], asked: list[str]) -> None:
        asyncio.run(check(listed, asked))

    examples()
    assert found > 100, "most of the queries found nothing, or everything"
    assert refused > 20
