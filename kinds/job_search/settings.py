"""What an installation sets about job search, read from the environment (and `.env`) beside Foxtrot's own settings."""

import re
from datetime import timedelta
from typing import Annotated, Self

import httpx
from pydantic import AfterValidator, Field, HttpUrl, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import SettingsError

_BOARD = re.compile(r"([a-z]+:)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
LONGEST_BOARD = 80


def _board(name: str) -> str:
    """A name, never a path or an address: it becomes one segment of a URL."""
    if len(name) > LONGEST_BOARD or not _BOARD.fullmatch(name):
        raise ValueError(f"{name[:LONGEST_BOARD]!r} is no name of a board; write it like stripe or lever:spotify")
    return name


BoardName = Annotated[str, AfterValidator(_board)]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}$")]
SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,20}$")]  # `zip_recruiter` is one


class JobSearchSettings(BaseSettings):
    """One field per environment variable of the same name in capitals; times are in seconds.

    `job_boards`: the boards of a search that names no companies, separated by commas; none by default.
    `job_sources`: the sources that may be asked. Those without boards of companies, such as `remotive`, are part of
    every search that names no companies, so they are off until they are named here.
    `job_sources_url`: one address that all sources are asked at instead of their own: a board server.
    `job_fetch_seconds`: the longest that one board may take to answer in full.
    `job_freshness_seconds`: how long a stored copy of a board is as good as a new one; each source's own time if unset.
    `job_user_agent`: how Foxtrot introduces itself; put an address of yours in it.
    `jobspy_sites`: the sites that the source `jobspy` searches, where that is on.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    job_boards: Annotated[list[BoardName], NoDecode, Field(max_length=100)] = []
    job_sources: Annotated[list[SourceName], NoDecode] = ["greenhouse", "lever", "ashby"]
    job_sources_url: HttpUrl | None = None
    job_fetch_seconds: Annotated[float, Field(gt=0, le=120)] = 30
    job_freshness_seconds: Annotated[float, Field(ge=0, le=86400)] | None = None
    job_user_agent: str = "foxtrot (job search)"
    jobspy_sites: Annotated[list[SiteName], NoDecode] = ["indeed"]

    @field_validator("job_boards", "job_sources", "jobspy_sites", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    @field_validator("job_boards", "job_sources")
    @classmethod
    def _known(cls, names: list[str], info: ValidationInfo) -> list[str]:
        from kinds.job_search.boards import check_source, split_board  # noqa: PLC0415 - sources read these settings

        for name in names:
            if info.field_name == "job_boards":
                split_board(name)
            else:
                check_source(name)
        return names

    def freshness(self, of_source: timedelta) -> timedelta:
        """The freshness time of a source in this installation."""
        return of_source if self.job_freshness_seconds is None else timedelta(seconds=self.job_freshness_seconds)

    def url(self, of_source: str, path: str, **parameters: str) -> httpx.URL:
        """The address of `path` at a source, or at the server that stands in for all of them."""
        base = str(self.job_sources_url or of_source).rstrip("/")
        return httpx.URL(base + path, params=parameters) if parameters else httpx.URL(base + path)

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises `SettingsError` with one line naming the setting and the fault."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            words = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"{str(first['loc'][0]).upper()}: {words}") from error
