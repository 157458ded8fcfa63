from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.bodies import check_json
from shared.errors import InvalidInputError
from tests.api.conftest import Person

LIMIT = 512 * 1024


def post(person: Person, body: bytes | Iterator[bytes], content_type: str = "application/json") -> httpx.Response:
    return person.post("/runs", content=body, headers={"Content-Type": content_type})


def check_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    return problem


@pytest.mark.parametrize("size", [LIMIT + 1, 1024 * 1024, 4 * 1024 * 1024])
def test_a_body_that_is_too_long_is_refused(ada: Person, size: int) -> None:
    problem = check_problem(post(ada, b" " * size), 413)
    assert str(LIMIT) in problem["detail"]


def test_so_is_one_that_does_not_say_how_long_it_is(ada: Person) -> None:
    check_problem(post(ada, (b" " * 1000 for _ in range(1000))), 413)


def test_a_body_of_the_longest_length_is_read(ada: Person) -> None:
    body = b'{"kind": "demo", "parameters": {"text": "hi"}}'
    assert post(ada, body + b" " * (LIMIT - len(body))).status_code == 202


def test_a_body_may_come_in_pieces(ada: Person) -> None:
    pieces = [b'{"kind": "demo", ', b'"parameters": ', b'{"text": "hi"}}']
    assert post(ada, iter(pieces)).status_code == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_what_does_not_say_that_it_is_json_is_refused(ada: Person, content_type: str) -> None:
    problem = check_problem(post(ada, b'{"kind": "demo", "parameters": {"text": "hi"}}', content_type), 415)
    assert "application/json" in problem["detail"]


def test_a_charset_does_no_harm(ada: Person) -> None:
    body = b'{"kind": "demo", "parameters": {"text": "hi"}}'
    assert post(ada, body, "Application/JSON; charset=utf-8").status_code == 202


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b'{"kind": }', "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b'{"a": "\xe4"}', "not JSON"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1" * 5000, "not JSON"),
        (b"[1e400]", "0: the number is too large"),
        (b"[" * 100_000, "32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "32 levels"),
        (b'{"parameters": {"text": ["a\\u0000"]}}', "parameters.text.0: text must not contain"),
        (b'{"parameters": {"a\\u0000": 1}}', "parameters: text must not contain"),
        (b'"\\ud800"', "body: text must not contain half"),
    ],
)
def test_what_is_no_clean_json_is_refused(ada: Person, body: bytes, words: str) -> None:
    assert words in check_problem(post(ada, body), 422)["detail"]


def test_clean_json_passes() -> None:
    check_json('{"a": ["é", "\\ud83d\\ude00", 1e300, -0.0, null, true], "": {}}'.encode())
    check_json(b'{"a":' * 32 + b"1" + b"}" * 32)
    with pytest.raises(InvalidInputError, match=r"a\.1: "):
        check_json(b'{"a": [1, "\\u0000"]}')


def test_nul_in_the_query_string_is_refused(ada: Person) -> None:
    assert "U+0000" in check_problem(ada.get("/runs?kind=a%00"), 422)["detail"]
