"""Reading a source's list of jobs: what can't be read is left out, and each id becomes one posting."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from kinds.job_search.posting import MOST_PLACES, Posting, says_remote
from kinds.job_search.sources.base import Fetched
from kinds.job_search.sources.errors import UnusableAnswerError

J = TypeVar("J", bound=BaseModel)

T = TypeVar("T")

MOST_POSTINGS = 10_000

# A source's own id, a number or a text, as the store can keep it under a unique key: short and printable.
JobId = Annotated[
    str, Field(coerce_numbers_to_str=True, min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f\x7f]+$")
]

# Words for where work is done, as boards write them.
_WORKPLACES = {"remote": True, "hybrid": False, "onsite": False, "on-site": False, "in office": False}


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


# A field that a posting can do without: what is not of the known form is unknown, and the rest is still read.
Maybe = Annotated[T | None, WrapValidator(_or_none)]


class CamelModel(BaseModel):
    """A model of JSON that names its fields in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


def list_in(answer: Any, field: str, name: str) -> list[Any]:
    """The list that an answer's object has as `field`; raises `UnusableAnswerError` when there is none."""
    return as_list(answer.get(field) if isinstance(answer, dict) else None, name)


def as_list(jobs: Any, name: str) -> list[Any]:
    """The same, for an answer that is the list itself."""
    if not isinstance(jobs, list):
        raise UnusableAnswerError(f"{name} answered with JSON that has no list of jobs")
    return jobs


def read_remote(places: Sequence[str], workplace: object) -> bool | None:
    """True when a place or the board's own word for the workplace says so.

    False only when that word names another way to work; a board that does not say leaves it unknown.
    """
    if any(says_remote(place) for place in places):
        return True
    return _WORKPLACES.get(workplace.strip().lower()) if isinstance(workplace, str) else None


def read_jobs(
    jobs: Sequence[Any], model: type[J], normalise: Callable[[J], Posting], name: str, *, complete: bool
) -> Fetched:
    """The postings of a list of jobs, the first `MOST_POSTINGS` at most.

    A job that can't be read doesn't take the others with it, but then the answer is not `complete`; nor is one that was
    cut. Jobs with the same id are one posting at all of their places, worded as the last. Raises `UnusableAnswerError`
    when there are jobs and none of them has the known form.
    """
    postings: dict[str, Posting] = {}
    unread = 0
    for raw in jobs[:MOST_POSTINGS]:
        try:
            posting = normalise(model.model_validate(raw))
        except ValidationError:
            unread += 1
            continue
        known = postings.get(posting.external_id)
        postings[posting.external_id] = _merge(known, posting) if known else posting
    if jobs and not postings:
        raise UnusableAnswerError(f"{name} answered with {len(jobs)} jobs in a form that is not known")
    return Fetched(tuple(postings.values()), complete and not unread and len(jobs) <= MOST_POSTINGS)


def _merge(first: Posting, again: Posting) -> Posting:
    places = tuple(dict.fromkeys([*first.places, *again.places]))[:MOST_PLACES]
    remote = again.remote if first.remote is None else first.remote or again.remote
    return replace(again, places=places, remote=remote)
