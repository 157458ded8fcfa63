"""What lives in `.foxtrot/`: the embedded Postgres and the secret that a laptop's tokens are signed with."""

import secrets
from pathlib import Path

from cli.postgres import running_url
from shared.errors import DatabaseError
from shared.settings import Settings

HOME = Path(".foxtrot")
SECRET = HOME / "jwt_secret"


def database_url(settings: Settings) -> str:
    """`DATABASE_URL`, else the embedded server that `foxtrot up` runs here; `DatabaseError` when there is none."""
    if settings.database_url:
        return settings.database_url.get_secret_value()
    url = running_url(HOME)
    if url is None:
        raise DatabaseError("no database: DATABASE_URL is not set and no `foxtrot up` runs in this folder.")
    return url


def jwt_secret(settings: Settings) -> str:
    """`JWT_SECRET`, else this folder's own, made at the first call and readable by its owner only."""
    if settings.jwt_secret:
        return settings.jwt_secret.get_secret_value()
    if not SECRET.exists():
        HOME.mkdir(exist_ok=True)
        SECRET.touch(mode=0o600)
        SECRET.write_text(secrets.token_urlsafe(32))
    return SECRET.read_text()
