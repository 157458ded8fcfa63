"""The kind `job_search`: what is asked, what comes back, and its words."""

import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from kinds.job_search.boards import DEFAULT_SOURCE, check_source, split_board
from kinds.job_search.settings import BoardName, JobSearchSettings, SourceName
from kinds.job_search.sources import SOURCES
from shared.errors import InvalidInputError
from shared.kinds import Kind, Step


def _one_line(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise ValueError("has a control character, such as NUL or a line end")
    if not any(char.isalnum() for char in text):
        raise ValueError("needs at least one letter or digit")
    return text


def _board(name: str) -> str:
    split_board(name)
    return name.removeprefix(f"{DEFAULT_SOURCE}:")


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
        Annotated[
            list[Annotated[BoardName, AfterValidator(_board)]],
            Field(min_length=1, max_length=20),
            AfterValidator(_distinct),
        ]
        | None,
        Field(
            description="Job boards of companies: `stripe` (on Greenhouse), `lever:spotify`, `ashby:ramp`."
            " The installation's own list if none are given."
        ),
    ] = None
    sources: Annotated[
        Annotated[
            list[Annotated[SourceName, AfterValidator(check_source)]],
            Field(min_length=1, max_length=20),
            AfterValidator(_distinct),
        ]
        | None,
        Field(description=f"Only these sources: {', '.join(SOURCES)}."),
    ] = None
    posted_within: Annotated[int | None, Field(ge=1, le=365, description="Days since it was posted, at most.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="How many postings the result lists.")] = 50


class BoardOutcome(BaseModel):
    """What came of one board: `fetched` now, a `stored` copy of `fetched_at`, or `failed` without any copy.

    `why` says what went wrong when a board that should have been asked could not be read, and `resting_seconds` for how
    long from then on nobody asks it. `generation` is the board's state that was matched: postings opened in a later one
    are new to this user.
    """

    source: str
    board: str
    outcome: Literal["fetched", "stored", "failed"]
    fetched_at: datetime | None = None
    why: str | None = None
    resting_seconds: int | None = None
    generation: int = 0


class Credit(BaseModel):
    """A source that was searched, and what it asks of those who show its postings: to be shown with every result."""

    source: str
    title: str
    attribution: str
    terms: str


class JobSearchResult(BaseModel):
    """`found` postings match, `new` of them were opened since this user's last success with the same parameters.

    `posting_ids` are the best `limit` of them, new ones first, then best first.
    """

    found: int
    new: int
    posting_ids: list[UUID]
    boards: list[BoardOutcome]
    credits: list[Credit]

    def headline(self) -> str:
        """Such as `12 jobs, 3 new` or `1 job, 0 new; 1 of 3 boards failed`."""
        jobs = "1 job" if self.found == 1 else f"{self.found:,} jobs"
        troubled = sum(board.why is not None for board in self.boards)
        trouble = f"; {troubled} of {len(self.boards)} boards failed" if troubled else ""
        return f"{jobs}, {self.new:,} new{trouble}"


def check(parameters: JobSearch) -> None:
    """Raises `InvalidInputError` for a source that is switched off, and for companies on none of the sources named."""
    on = JobSearchSettings.load().job_sources
    companies = [split_board(name)[0] for name in parameters.companies or ()]
    if companies and parameters.sources and not set(companies) & set(parameters.sources):
        raise InvalidInputError(
            f"parameters.sources: no company of this search is on {' or '.join(parameters.sources)}",
            field="parameters.sources",
            hint="Name other sources or companies, or leave one of the two out.",
        )
    for field, sources in {"companies": companies, "sources": parameters.sources or []}.items():
        for source in sources:
            if source not in on:
                raise InvalidInputError(
                    f"parameters.{field}: {SOURCES[source].title} is switched off in this installation",
                    field=f"parameters.{field}",
                    hint=f"Sources that are on: {', '.join(on)} (JOB_SOURCES).",
                )


JOB_SEARCH = Kind(
    name="job_search",
    parameters=JobSearch,
    result=JobSearchResult,
    handler="kinds.job_search.handler:search",
    title="Job search",
    headline=JobSearchResult.headline,
    check=check,
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
