"""Every setting, read once from the environment (and `.env`) and checked before anything starts."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Self
from zoneinfo import ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.cron import check_zone
from shared.errors import InvalidZoneError, SettingsError

# Constants, not settings: the SQL function foxtrot.alive knows the first one too.
LEASE = timedelta(seconds=15)
RENEW_EVERY = timedelta(seconds=5)
RESCUE_EVERY = timedelta(seconds=5)
RECONCILE_EVERY = timedelta(seconds=2)

MOST_REFRESHES = 10  # a day, of a kept search
LEAST_MINUTES = 5  # between two of them, over midnight too; the least that a timetable may have
A_DAY = 24 * 60
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
BEARER = re.compile(r"[!-~]{16,}")  # what fits into a header as it is; the length is what Vercel asks for


class Settings(BaseSettings):
    """One field per environment variable of the same name in capitals; times are in seconds."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    foxtrot_kinds: Annotated[list[str], NoDecode] = ["kinds"]
    foxtrot_notify: bool = True
    default_zone: str = "Europe/London"
    log_level: str = "INFO"

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    jwt_secret: SecretStr | None = None
    cron_secret: SecretStr | None = None
    cron_secret_previous: SecretStr | None = None
    api_pool_size: Annotated[int, Field(ge=1, le=100)] = 5
    request_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10
    max_body_bytes: Annotated[int, Field(ge=1024)] = 512 * 1024

    worker_slots: Annotated[int, Field(ge=1, le=10_000)] = 10
    worker_poll_interval_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    worker_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 20
    manual_reserve: Annotated[float, Field(ge=0, lt=1)] = 0.2
    cron_credit: Annotated[float, Field(ge=0, le=1)] = 0.1

    scheduler_interval_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1
    expand_chunk: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    missed_after_seconds: Annotated[int, Field(ge=60)] = 15 * 60
    retention_days: Annotated[int, Field(ge=1, le=365)] = 30
    inactive_after_days: Annotated[int, Field(ge=1, le=3650)] = 30
    failures_before_pause: Annotated[int, Field(ge=1, le=100)] = 10
    schedules_per_user: Annotated[int, Field(ge=1, le=10_000)] = 50
    refresh_times: Annotated[list[str], NoDecode] = ["08:00", "10:00", "14:00", "16:00", "16:45", "22:00"]

    @field_validator("foxtrot_kinds", "refresh_times", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("default_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            return check_zone(value)
        except (InvalidZoneError, ZoneInfoNotFoundError) as error:
            raise ValueError(str(error)) from error

    @field_validator("refresh_times")
    @classmethod
    def _a_day(cls, value: list[str]) -> list[str]:
        if not 1 <= len(value) <= MOST_REFRESHES:
            raise ValueError(f"needs between 1 and {MOST_REFRESHES} times of day, such as 08:00,16:45")
        times = sorted(_minute(text) for text in value)
        gaps = [later - earlier for earlier, later in pairwise([*times, times[0] + A_DAY])]
        if min(gaps) < LEAST_MINUTES:
            raise ValueError(f"needs at least {LEAST_MINUTES} minutes between two times")
        return [f"{minute // 60:02}:{minute % 60:02}" for minute in times]

    @field_validator("cron_secret", "cron_secret_previous")
    @classmethod
    def _not_guessable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not BEARER.fullmatch(value.get_secret_value()):
            raise ValueError("needs at least 16 characters, letters, digits and ASCII signs without spaces")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:  # noqa: PLR2004 - RFC 7518 §3.2: a key as long as the hash
            raise ValueError("needs at least 32 characters")
        return value

    @property
    def keep(self) -> timedelta:
        """How far back slots are taken up and kept."""
        return timedelta(days=self.retention_days)

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises `SettingsError` with one line naming the setting, its value and the fault."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            value = "" if "Secret" in str(cls.model_fields[name].annotation) else f" (it is {first['input']!r})"
            raise SettingsError(f"{name.upper()}: {first['msg'].removeprefix('Value error, ')}{value}") from error


def _minute(text: str) -> int:
    if not TIME_OF_DAY.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day such as 08:00")
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)
