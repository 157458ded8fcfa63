"""The rules of the house, read from the source: who imports whom, and how statements and tests are written."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("shared", "kinds", "scheduler", "worker", "api", "cli", "migrations")

# What a package may import of the others (docs/architecture.md); `cli` is the composition root.
MAY_IMPORT = {
    "shared": (),
    "migrations": ("shared", "cli.postgres"),  # which the snapshot is made with
    "kinds": ("shared",),
    "scheduler": ("shared",),
    "worker": ("shared", "kinds"),
    "api": ("shared", "migrations", "kinds.*.kind", "kinds.job_search.postings"),
    "cli": PACKAGES,
}
# Where a test may sleep: to poll what no lock tells of, and in a handler that is there to be slow.
MAY_SLEEP = {"tests/support.py", "tests/cli/test_postgres.py", "tests/worker/handlers.py", "tests/faults/handlers.py"}

SQL_CLOCKS = r"current_timestamp|current_date|current_time|localtime|localtimestamp|statement_timestamp|timeofday"
CHANGES = re.compile(
    r"(insert\s+into|update|delete\s+from|truncate|merge\s+into)\s+foxtrot\.(runs|queue)\b", re.IGNORECASE
)
CONTRACT = re.compile(r"-- [A-Z].*\.")
LITERAL = re.compile(r"'(?:[^']|'')*'")


def sources(*folders: str, suffix: str = ".py") -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def module(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_module(dotted: str) -> bool:
    path = ROOT / dotted.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@cache
def imports(path: Path) -> frozenset[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{name(path)} imports by relative path"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {dotted if is_module(dotted) else node.module for dotted in inner}
    return frozenset(found)


def texts(path: Path) -> Iterator[str]:
    """The string and bytes constants of a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def statements() -> list[Path]:
    return [path for path in sources(*PACKAGES, suffix=".sql") if path.name != "schema.sql"]


def uncommented(path: Path) -> str:
    return re.sub(r"--.*", "", path.read_text(encoding="utf-8"))


# Arrows ---------------------------------------------------------------------------------------------------------------


def allowed(importer: str, imported: str) -> bool:
    own, package = importer.split(".", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    if package not in PACKAGES or package == own:
        return True
    return any(fnmatch(imported, pattern) or fnmatch(imported, f"{pattern}.*") for pattern in MAY_IMPORT[own])


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package: str) -> None:
    wrong = {
        f"{name(path)} imports {imported}"
        for path in sources(package)
        for imported in imports(path)
        if not allowed(module(path), imported)
    }
    assert wrong == set()


def reached(package: str) -> set[str]:
    """Every module of ours that is loaded when all of a package is, the packages around each included."""
    found: set[str] = set()
    left = {module(path) for path in sources(package)}
    while left:
        one = left.pop()
        found.add(one)
        parts = one.split(".")
        left |= {".".join(parts[:length]) for length in range(1, len(parts))}
        path = ROOT / one.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        left |= {each for each in imports(path) if each.split(".")[0] in PACKAGES} if path.exists() else set()
        left -= found
    return found


@pytest.mark.parametrize("package", ["shared", "scheduler", "api"])
def test_the_work_itself_is_only_loaded_where_it_is_done(package: str) -> None:
    assert {dotted for dotted in reached(package) if fnmatch(dotted, "kinds.*.handler")} == set()


def test_cronsim_is_behind_one_door() -> None:
    doors = [name(path) for path in sources(*PACKAGES, "tests", "benchmarks") if "cronsim" in imports(path)]
    assert [door for door in doors if not door.startswith("tests/")] == ["shared/cron.py"]


# Time -----------------------------------------------------------------------------------------------------------------


def test_python_reads_the_wall_clock_in_one_file() -> None:
    clocks = re.compile(r"(datetime|date)\.(now|utcnow|today)|time\.time(_ns)?")
    readers = {name(path) for path in sources(*PACKAGES) for called, _ in calls(path) if clocks.fullmatch(called)}
    assert readers == {"shared/clock.py"}


@pytest.mark.parametrize("path", statements(), ids=name)
def test_the_clock_of_a_statement_is_now(path: Path) -> None:
    text = uncommented(path)
    assert not re.search(rf"\b({SQL_CLOCKS})\b", text, re.IGNORECASE)
    if path.name != "enqueue.sql":  # which marks the rows it promoted
        assert "clock_timestamp" not in text


# Statements -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", statements(), ids=name)
def test_a_statement_begins_with_its_contract(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert CONTRACT.fullmatch(first), f"{name(path)} begins with {first!r} instead of a sentence in a comment"


@pytest.mark.parametrize("path", statements(), ids=name)
def test_no_placeholder_is_quoted(path: Path) -> None:
    assert [text for text in LITERAL.findall(uncommented(path)) if "%(" in text] == []


@pytest.mark.parametrize("path", statements(), ids=name)
def test_the_planner_is_not_switched(path: Path) -> None:
    assert not re.search(r"\b(enable_\w+|plan_cache_mode|_cost)\b", uncommented(path))


def test_what_changes_runs_or_the_queue_is_a_statement_file() -> None:
    assert [name(path) for path in sources(*PACKAGES) for text in texts(path) if CHANGES.search(text)] == []


def loads(path: Path) -> Iterator[str]:
    """What a file loads from its folder; a name with a part that varies is a pattern."""
    for called, call in calls(path):
        if called == "load_sql":
            named = call.args[1]
            parts = named.values if isinstance(named, ast.JoinedStr) else [named]
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts) + ".sql"


def test_every_statement_file_is_loaded_by_a_neighbour() -> None:
    loaded = {(path.parent, pattern) for path in sources(*PACKAGES) for pattern in loads(path)}
    idle = [
        name(path)
        for path in statements()
        if not any(path.parent == folder and fnmatch(path.name, pattern) for folder, pattern in loaded)
    ]
    assert [path for path in idle if not path.startswith("migrations/")] == []


# Tests ----------------------------------------------------------------------------------------------------------------


def test_tests_replace_nothing_by_mocks() -> None:
    assert [name(path) for path in sources("tests") if any("mock" in imported for imported in imports(path))] == []


def test_tests_do_not_sleep() -> None:
    sleepers = {
        name(path)
        for path in sources("tests")
        for called, call in calls(path)
        if called in {"sleep", "time.sleep", "asyncio.sleep"} and ast.unparse(call.args[0]) != "0"
    }
    assert sleepers <= MAY_SLEEP
