"""Every setting, read once from the environment (and `.env`) and checked before anything starts."""

from datetime import timedelta
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


class Settings(BaseSettings):
    """One field per environment variable of the same name in capitals; times are in seconds."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    foxtrot_kinds: Annotated[list[str], NoDecode] = ["kinds"]
    default_zone: str = "Europe/London"
    log_level: str = "INFO"

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    jwt_secret: SecretStr | None = None
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

    @field_validator("foxtrot_kinds", mode="before")
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

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:  # noqa: PLR2004 - RFC 7518 §3.2: a key as long as the hash
            raise ValueError("needs at least 32 characters")
        return value

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
