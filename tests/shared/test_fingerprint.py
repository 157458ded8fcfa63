import random
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.fingerprint import fingerprint

SLOT = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Area(BaseModel):
    city: str = "London"
    radius: int = 10


class Search(BaseModel):
    query: str = ""
    area: Area = Area()
    filters: dict[str, str] = {}
    boards: list[str] = []


def of(kind: str = "demo", org_id: str | None = None, slot: datetime | None = None, **parameters: Any) -> bytes:
    return fingerprint(kind, org_id, Search(**parameters), slot)


def test_it_is_sixteen_bytes_that_never_change() -> None:
    # Stored on schedules: another value here needs a migration that computes them anew.
    assert of().hex() == "977cabfabaf75a1f19ce4a6d6202e939"
    assert of("other", "acme", SLOT, query="Zoë", boards=["b", "a"]).hex() == "f17b3131141d2fa88ba875b2ff1fa702"


@pytest.mark.parametrize(
    "different",
    [
        {"kind": "other"},
        {"org_id": "acme"},
        {"org_id": ""},
        {"slot": SLOT},
        {"query": "nurse"},
        {"area": {"radius": 11}},
        {"filters": {"level": "senior"}},
        {"boards": ["acme"]},
    ],
)
def test_other_work_has_another(different: dict[str, Any]) -> None:
    assert of(**different) != of()


def test_the_order_of_a_list_matters() -> None:
    assert of(boards=["a", "b"]) != of(boards=["b", "a"])


def test_a_default_that_is_spelled_out_is_left_out() -> None:
    assert of(query="", area={"city": "London"}, filters={}, boards=[]) == of()
    assert of(area={"city": "London", "radius": 5}) == of(area={"radius": 5})


def test_a_slot_is_an_instant_however_it_is_written() -> None:
    there = SLOT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert of(slot=there) == of(slot=SLOT)
    assert of(slot=SLOT + timedelta(minutes=1)) != of(slot=SLOT)


@settings(derandomize=True, deadline=None, database=None)
@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4), st.text(max_size=6), st.randoms())
def test_spelling_and_order_do_not_matter(filters: dict[str, str], query: str, rng: random.Random) -> None:
    composed = {normal(key): value for key, value in filters.items()}
    spelled = [
        (unicodedata.normalize("NFD", key), unicodedata.normalize("NFD", value)) for key, value in composed.items()
    ]
    rng.shuffle(spelled)
    again = of(query=unicodedata.normalize("NFD", query), filters=dict(spelled))
    assert again == of(query=query, filters=composed)


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def test_two_spellings_of_a_key_stand_in_one_place() -> None:
    # Composed, this key sorts behind `z`; decomposed, before it.
    keys = [unicodedata.normalize(form, "éa") for form in ("NFC", "NFD")]
    assert sorted([keys[0], "f"]) != [keys[0], "f"]
    assert sorted([keys[1], "f"]) == [keys[1], "f"]
    assert len({of(filters={key: "1", "f": "2"}) for key in keys}) == 1
