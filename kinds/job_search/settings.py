"""What an installation sets about job search, read from the environment (and `.env`) beside Foxtrot's own settings."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, HttpUrl, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kinds.job_search.posting import BoardName
from shared.errors import SettingsError


class JobSearchSettings(BaseSettings):
    """One field per environment variable of the same name in capitals; times are in seconds.

    `greenhouse_url`: where Greenhouse boards are asked; the demo sets its own board server.
    `job_boards`: the boards of a search that names no companies, separated by commas; none by default.
    `job_fetch_seconds`: the longest that one board may take to answer in full.
    `job_freshness_seconds`: how long a stored copy of a board is as good as a new one; each source's own time if unset.
    `job_user_agent`: how Foxtrot introduces itself; put an address of yours in it.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    greenhouse_url: HttpUrl = HttpUrl("https://boards-api.greenhouse.io")
    job_boards: Annotated[list[BoardName], NoDecode, Field(max_length=100)] = []
    job_fetch_seconds: Annotated[float, Field(gt=0, le=120)] = 30
    job_freshness_seconds: Annotated[float, Field(ge=0, le=86400)] | None = None
    job_user_agent: str = "foxtrot (job search)"

    @field_validator("job_boards", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    def freshness(self, of_source: timedelta) -> timedelta:
        """The freshness time of a source in this installation."""
        return of_source if self.job_freshness_seconds is None else timedelta(seconds=self.job_freshness_seconds)

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises `SettingsError` with one line naming the setting and the fault."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise SettingsError(f"{str(first['loc'][0]).upper()}: {first['msg']}") from error
