import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from shared.errors import InvalidTokenError
from shared.tokens import Claims, issue_token, user_id_of, verify_token

SECRET = "a secret that only the tests know, and long enough"
SOON = int((datetime.now(UTC) + timedelta(hours=1)).timestamp())


def signed(secret: str = SECRET, **claims: Any) -> str:
    """A token with claims that no issuer would let through."""
    payload = json.dumps({"sub": "ada", "exp": SOON} | claims).encode()
    return jwt.PyJWS().encode(payload, secret, "HS256")


def refusal(token: str) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        verify_token(SECRET, token)
    return caught.value.message


def test_a_token_says_who_it_was_issued_for() -> None:
    user_id = uuid4()
    token = issue_token(SECRET, str(user_id), org_id="acme", email="ada@example.org", zone="Asia/Tokyo")
    assert verify_token(SECRET, token) == Claims(user_id, "acme", "ada@example.org", "Asia/Tokyo")


def test_what_a_token_does_not_say_is_unknown() -> None:
    assert verify_token(SECRET, issue_token(SECRET, "ada")) == Claims(user_id_of("ada"))


def test_a_sub_that_is_a_uuid_is_the_user() -> None:
    user_id = uuid4()
    assert user_id_of(str(user_id)) == user_id == user_id_of(str(user_id), "https://issuer.example")


def test_any_other_sub_is_a_name_among_those_of_its_issuer() -> None:
    names = [user_id_of("ada"), user_id_of("grace"), user_id_of("ada", "https://a.example"), user_id_of("ada", "b")]
    assert len(set(names)) == 4


def test_a_name_is_the_same_user_in_every_release() -> None:
    assert user_id_of("ada") == UUID("2240d560-f419-5cd2-9af0-ab30b586c365")


def test_the_issuer_counts() -> None:
    issuer = "https://a.example"
    assert verify_token(SECRET, signed(iss=issuer)).user_id == user_id_of("ada", issuer)


def test_an_org_has_two_spellings() -> None:
    assert verify_token(SECRET, signed(org="acme")).org_id == "acme"
    assert verify_token(SECRET, signed(org_id="acme")).org_id == "acme"


def test_an_audience_is_not_looked_at() -> None:
    assert verify_token(SECRET, signed(aud="authenticated")).user_id == user_id_of("ada")


def test_a_zone_that_is_none_is_left_out() -> None:
    assert verify_token(SECRET, signed(zone="Mars/Olympus")).zone is None


def test_clocks_may_differ_by_half_a_minute() -> None:
    now = int(datetime.now(UTC).timestamp())
    assert verify_token(SECRET, signed(exp=now - 20)).user_id == user_id_of("ada")
    assert "expired" in refusal(signed(exp=now - 40))
    assert "not yet valid" in refusal(signed(iat=now + 60))


def test_a_token_without_an_end_is_refused() -> None:
    assert "exp" in refusal(jwt.encode({"sub": "ada"}, SECRET, "HS256"))


def test_a_token_without_a_sub_is_refused() -> None:
    assert "sub" in refusal(jwt.encode({"exp": SOON}, SECRET, "HS256"))


def test_another_secret_is_refused() -> None:
    assert "ignature" in refusal(signed(secret=SECRET.upper()))


def test_another_algorithm_is_refused_even_with_the_right_secret() -> None:
    token = jwt.encode({"sub": "ada", "exp": SOON}, SECRET + SECRET, "HS512")
    with pytest.raises(InvalidTokenError, match="alg value"):
        verify_token(SECRET + SECRET, token)


def test_no_algorithm_is_refused() -> None:
    parts = [{"alg": "none", "typ": "JWT"}, {"sub": "ada", "exp": SOON}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    assert "alg value" in refusal(".".join([*encoded, ""]))


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "é.é.é", "x" * 10_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"sub": ""}, "sub"),
        ({"sub": "a\0b"}, "sub"),
        ({"sub": 7}, "ub"),
        ({"org": 7}, "org"),
        ({"org_id": "a\0"}, "org_id"),
        ({"email": "x" * 321}, "email"),
        ({"email": "\ud800"}, "email"),
        ({"iss": ["a"]}, "iss"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": "soon"}, "exp"),
    ],
)
def test_claims_that_could_not_be_stored_are_refused(claims: dict[str, Any], named: str) -> None:
    assert named in refusal(signed(**claims))
