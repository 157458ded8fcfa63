"""The schema's way to head: `upgrade` runs the revisions, `script` prints them, `pending` lists what is missing."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from shared.db import UNREACHABLE, describe
from shared.errors import DatabaseError

SCHEMA = "foxtrot"
HERE = Path(__file__).parent
OLDEST_POSTGRES = 15

LOCK = "select pg_advisory_xact_lock(hashtextextended('foxtrot.migrations', 0))"
CREATE_SCHEMA = "create schema if not exists foxtrot"
LOCK_TIMEOUT = "set local lock_timeout = '1s'"
# The previous week takes cron runs whose slot lies behind; eight ahead outlast a long stop of the schedulers.
PARTITIONS = "select foxtrot.make_run_partition(now() + n * interval '168 hours') from generate_series(-1, 8) as n"

HINTS: dict[object, str] = {
    InsufficientPrivilege: (
        "Migrate as the owner of schema foxtrot. The first time that user needs, from an administrator, GRANT CREATE "
        "ON DATABASE {database} TO {user} and ALTER ROLE {user} CREATEROLE (or, if both roles exist, GRANT "
        "foxtrot_service, foxtrot_api TO {user}). Or let the administrator run what `foxtrot migrate --sql` prints."
    ),
    LockNotAvailable: "Another transaction holds a lock on foxtrot.runs in {database}: end it, then migrate again.",
}


def upgrade(url: str) -> list[str]:
    """Bring the database to head, make the weeks of runs from the previous one to 8 ahead; the revisions applied.

    Everything pending goes in one transaction, and a lock held by it makes a second deploy wait and find nothing left
    to do. It is the transaction's and not the session's, because a session's lock is lost behind a transaction pooler.
    Raises `DatabaseError` when the server can't be reached, is too old or refuses a right.
    """
    with connect(url) as connection, _explained(connection):
        with connection.begin():
            connection.exec_driver_sql(LOCK)
            todo = _pending(connection)
            if todo:
                connection.exec_driver_sql(CREATE_SCHEMA)
                command.upgrade(_config(connection=connection), "head")
        with connection.begin():
            connection.exec_driver_sql(LOCK_TIMEOUT)
            connection.exec_driver_sql(PARTITIONS)
    return todo


def pending(url: str) -> list[str]:
    """The revisions that `upgrade` would apply, oldest first. Raises `DatabaseError` as `upgrade` does."""
    with connect(url) as connection, _explained(connection):
        return _pending(connection)


def script() -> str:
    """All of it as SQL for an empty database, to be pasted where no connection can be had; `pending` is empty then."""
    text = io.StringIO()
    command.upgrade(_config(output_buffer=text), "head", sql=True)
    return f"{CREATE_SCHEMA};\n\n{text.getvalue()}\n{PARTITIONS};\n"


def run_sql(revision: str) -> None:
    """A revision's body: the file sql/<revision>.sql, sent as it is."""
    text = (HERE / "sql" / f"{revision}.sql").read_text(encoding="utf-8")
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """SQLAlchemy over a psycopg connection, which reads every form of URL that libpq does, unix sockets included."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: _open(url), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _open(url: str) -> psycopg.Connection:
    try:
        connection = psycopg.connect(
            url, application_name="foxtrot-migrate", connect_timeout=10, prepare_threshold=None
        )
    except psycopg.ProgrammingError:
        # libpq quotes the whole URL here, with its password.
        raise DatabaseError("DATABASE_URL is not a URL like postgresql://user:password@host:5432/name") from None
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise DatabaseError(f"can't connect to {describe(url)}: {reason}", hint=UNREACHABLE) from error
    if connection.info.server_version < OLDEST_POSTGRES * 10_000:
        version = connection.info.parameter_status("server_version")
        connection.close()
        raise DatabaseError(
            f"Postgres {version} at {describe(url)} is too old",
            hint=f"Foxtrot needs Postgres {OLDEST_POSTGRES} or later.",
        )
    return connection


def _pending(connection: Connection) -> list[str]:
    revisions = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
    current = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
    if current is None:
        return revisions
    # A revision that isn't ours is a newer release's: nothing of ours is missing, so going back to this one works.
    return revisions[revisions.index(current) + 1 :] if current in revisions else []


def _config(*, connection: Connection | None = None, output_buffer: io.StringIO | None = None) -> Config:
    attributes: dict[str, Any] = {"connection": connection}
    config = Config(output_buffer=output_buffer, attributes=attributes)
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config


@contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    info: psycopg.ConnectionInfo = connection.connection.driver_connection.info  # type: ignore[union-attr]
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
        hint = HINTS.get(type(error.orig), "").format(database=info.dbname, user=info.user)
        raise DatabaseError(f"migrating {info.dbname} as {info.user} failed: {reason}", hint=hint or None) from error
