import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer
from structlog.testing import capture_logs

from shared.errors import HandlerError
from shared.kinds import Kind, Snooze
from shared.queue import Outcome, Snoozed
from tests.worker.handlers import Output, define
from tests.worker.test_failures import CLAIMED
from worker.outcomes import RESULT_BYTES, conclude

KIND = define("echo")
FRAME = len('{"text":"","number":0.0}')


def concluded(text: str, number: float = 0, **values: Any) -> Outcome:
    ended = conclude(define("echo", **values), CLAIMED, Output(text=text, number=number))
    assert isinstance(ended, Outcome)
    return ended


def result_of(ended: Outcome) -> Any:
    return json.loads(ended.result or "null")


def test_a_result_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert concluded("é" * ((RESULT_BYTES - FRAME) // 2)).result
    with pytest.raises(HandlerError, match=r"has 262,145 bytes of JSON, more than 262,144"):
        concluded("x" * (RESULT_BYTES - FRAME + 1))


@pytest.mark.parametrize("text", ["\x00", "a\x00", "\\\x00"])
def test_a_nul_in_a_result_is_refused(text: str) -> None:
    with pytest.raises(HandlerError, match="NUL character"):
        concluded(text)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000"])
def test_a_nul_that_is_only_spelled_out_is_fine(text: str) -> None:
    assert result_of(concluded(text)) == {"text": text, "number": 0}


@pytest.mark.parametrize(("text", "number"), [("", float("nan")), ("", float("inf")), ("\ud800", 0)])
def test_what_json_cannot_carry_is_refused(text: str, number: float) -> None:
    with pytest.raises(HandlerError, match="JSON can't carry"):
        concluded(text, number)


class Faulty(BaseModel):
    at: int = 3

    @field_serializer("at")
    def tell(self, at: int) -> str:
        return ["one", "two"][at]


def test_a_fault_in_a_models_own_serializer_is_no_fault_of_the_result() -> None:
    with pytest.raises(Exception, match="list index out of range") as raised:
        conclude(Kind(**vars(KIND) | {"result": Faulty}), CLAIMED, Faulty())
    assert not isinstance(raised.value, HandlerError)


def test_a_result_given_as_a_dict_is_validated() -> None:
    ended = conclude(KIND, CLAIMED, {"text": "x", "number": "2"})
    assert isinstance(ended, Outcome)
    assert result_of(ended) == {"text": "x", "number": 2}
    with pytest.raises(HandlerError, match="wrong result"):
        conclude(KIND, CLAIMED, None)


def test_a_headline_is_cleaned() -> None:
    assert concluded("fine", headline=lambda _: "a\x00b").headline == "a\ufffdb"


def test_a_broken_headline_does_not_cost_the_result() -> None:
    with capture_logs() as logs:
        ended = concluded("fine", headline=lambda output: output.missing)
    assert (ended.headline, result_of(ended)) == ("Echo", {"text": "fine", "number": 0})
    assert [entry["event"] for entry in logs] == ["headline_failed"]


def test_a_snooze_lasts_at_most_a_day_from_the_first_start() -> None:
    claimed = CLAIMED._replace(started_at=datetime(2026, 1, 1, tzinfo=UTC))
    until = claimed.started_at + timedelta(hours=24)
    assert conclude(KIND, claimed, Snooze(until, "a\x00")) == Snoozed(CLAIMED.run_id, 0, 1, until, "a\ufffd")
    with pytest.raises(HandlerError, match="more than 24 hours"):
        conclude(KIND, claimed, Snooze(until + timedelta(seconds=1), "why"))


def test_a_snooze_needs_a_zone() -> None:
    with pytest.raises(HandlerError, match="no time with a zone: why"):
        conclude(KIND, CLAIMED, Snooze(datetime(2026, 1, 1), "why"))  # noqa: DTZ001
