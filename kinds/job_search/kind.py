"""The kind `job_search`: what is asked, what comes back, and its words."""

import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from kinds.job_search.posting import BoardName
from shared.kinds import Kind, Step


def _one_line(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise ValueError("has a control character, such as NUL or a line end")
    if not any(char.isalnum() for char in text):
        raise ValueError("needs at least one letter or digit")
    return text


def _distinct(names: list[str]) -> list[str]:
    """In one order, so that the same companies are the same search."""
    return sorted(set(names))


Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_one_line)
]


class JobSearch(BaseModel):
    """A search over job boards. Words are matched by their stems; `"in quotes"` together, `-word` not at all."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[Words, Field(description="Words to look for in title, company, place and description.")]
    location: Annotated[
        Words | None, Field(description="Part of a place's name, such as 'Berlin'; case and accents don't matter.")
    ] = None
    remote: Annotated[
        bool | None, Field(description="True: only postings that say they are remote. False: leave those out.")
    ] = None
    companies: Annotated[
        Annotated[list[BoardName], Field(min_length=1, max_length=20), AfterValidator(_distinct)] | None,
        Field(description="Names of job boards; the installation's own list if none are given."),
    ] = None
    posted_within: Annotated[int | None, Field(ge=1, le=365, description="Days since it was posted, at most.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="How many postings the result lists.")] = 50


class SourceOutcome(BaseModel):
    """What came of one board: `fetched` now, a `stored` copy of `fetched_at`, or `failed` without any copy.

    `why` says what went wrong when a board that should have been asked could not be read. `generation` is the board's
    state that was matched: postings opened in a later one are new to this user.
    """

    source: str
    board: str
    outcome: Literal["fetched", "stored", "failed"]
    fetched_at: datetime | None = None
    why: str | None = None
    generation: int = 0
    attribution: str = ""


class JobSearchResult(BaseModel):
    """`found` postings match, `new` of them were opened since this user's last success with the same parameters.

    `posting_ids` are the best `limit` of them, best first.
    """

    found: int
    new: int
    posting_ids: list[UUID]
    sources: list[SourceOutcome]

    def headline(self) -> str:
        """Such as `12 jobs, 3 new` or `1 job, 0 new; 1 of 3 boards failed`."""
        jobs = "1 job" if self.found == 1 else f"{self.found:,} jobs"
        troubled = sum(source.why is not None for source in self.sources)
        trouble = f"; {troubled} of {len(self.sources)} boards failed" if troubled else ""
        return f"{jobs}, {self.new:,} new{trouble}"


JOB_SEARCH = Kind(
    name="job_search",
    parameters=JobSearch,
    result=JobSearchResult,
    handler="kinds.job_search.handler:search",
    title="Job search",
    headline=JobSearchResult.headline,
    doing="Searching job boards",
    steps=(
        Step("ask", "Asking job boards", 0),
        Step("match", "Matching postings", 90),
    ),
    hints={
        "TimeoutError": "The boards are slow to answer. Name fewer companies, or let the next refresh try again.",
    },
    usual_duration=timedelta(seconds=5),
    reuse_for=timedelta(seconds=30),
)
