"""What lives in `.foxtrot/`: the embedded Postgres, the secret of a laptop's tokens, and what the demo searches."""

import ipaddress
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.postgres import running_url
from shared.errors import DatabaseError, SettingsError
from shared.settings import Settings

HOME = Path(".foxtrot")
SECRET = HOME / "jwt_secret"
DEMO = HOME / "demo.json"


def database_url(settings: Settings) -> str:
    """`DATABASE_URL`, else the embedded server that `foxtrot up` runs here; `DatabaseError` when there is none.

    Where the demo runs in this folder, the process takes over which boards and sources it searches.
    """
    if DEMO.exists():
        for name, value in json.loads(DEMO.read_text()).items():
            os.environ.setdefault(name, value)
    if settings.database_url:
        return settings.database_url.get_secret_value()
    url = running_url(HOME)
    if url is None:
        raise DatabaseError("no database: DATABASE_URL is not set and no `foxtrot up` runs in this folder.")
    return url


def jwt_secret(settings: Settings) -> str:
    """`JWT_SECRET`, else this folder's own, made at the first call and readable by its owner only.

    Raises `SettingsError` on a host that others reach and whose data lies elsewhere: its folder may be gone with the
    next deploy, and everybody's token would be worth nothing.
    """
    if settings.jwt_secret:
        return settings.jwt_secret.get_secret_value()
    if settings.database_url and not _is_loopback(settings.host):
        raise SettingsError(
            f"JWT_SECRET is not set, and with DATABASE_URL and HOST {settings.host} none is made up.",
            hint="Set it to 32 random characters or more, the same at every start.",
        )
    if not SECRET.exists():
        HOME.mkdir(exist_ok=True)
        SECRET.touch(mode=0o600)
        SECRET.write_text(secrets.token_urlsafe(32))
    return SECRET.read_text()


@contextmanager
def demo_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Let other commands in this folder search what the demo does, until the end of the block."""
    HOME.mkdir(exist_ok=True)
    DEMO.write_text(json.dumps(dict(environment)))
    try:
        yield
    finally:
        DEMO.unlink(missing_ok=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
