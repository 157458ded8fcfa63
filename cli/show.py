"""How runs, postings and sources look in a terminal. Text from outside is never read as markup."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from kinds.job_search.postings import FoundPosting, PostingPage
from kinds.job_search.source_report import SourceReport
from kinds.job_search.sources import SOURCES
from shared.kinds import Kind, Status
from shared.queue import ReadWorker
from shared.runs import ReadRun

SHORT = {"status", "source", "created", "took", "kind", "last success", "posted", "pay", ""}
COLOURS = {Status.SUCCESS: "green", Status.FAILED: "red", Status.CANCELLED: "yellow", Status.RUNNING: "cyan"}


def runs(found: Sequence[ReadRun]) -> Table:
    """A table of runs."""
    table = table_of("status", "source", "created", "took", "kind", "result", "run")
    for run in found:
        table.add_row(
            Text(run.status, COLOURS.get(Status(run.status), "")),
            Text(run.source),
            Text(f"{run.created_at:%d %b %H:%M}"),
            Text(_seconds(run.started_at, run.finished_at)),
            Text(run.kind),
            Text(run.headline or _error(run)),
            Text(str(run.id), "dim"),
        )
    return table


def outcome(run: ReadRun) -> Group:
    """What became of a run, in one or two lines."""
    colour = COLOURS.get(Status(run.status), "")
    lines = [Text.assemble((run.status, colour), f"  {run.headline or _error(run)}")]
    hint = (run.error or {}).get("hint") if run.status == Status.FAILED else None
    return Group(*lines, *([Text(hint, "dim")] if hint else []))


def postings(page: PostingPage, *, new: int) -> Group:
    """A table of postings, the first `new` of them marked, and what is due to their sources."""
    table = table_of("", "title", "company", "place", "pay", "posted")
    for number, posting in enumerate(page.postings):
        table.add_row(
            Text("new" if number < new else "", "green"),
            Text(posting.title, style=f"link {posting.url}"),
            Text(posting.company),
            Text("; ".join(posting.places)),
            Text(_pay(posting)),
            Text(f"{posting.posted_at:%Y-%m-%d}" if posting.posted_at else "?"),
        )
        for link in posting.also:
            table.add_row("", Text(f"  also on {SOURCES[link.source].title}", style=f"dim link {link.url}"))
    return Group(table, Text(""), *(Text(f"{due.title}: {due.attribution} {due.terms}", "dim") for due in page.credits))


def sources(found: Sequence[SourceReport], on: Sequence[str]) -> Table:
    """A table of sources."""
    table = table_of("source", "", "asked today", "boards", "postings", "what is wrong")
    for report in found:
        budget = SOURCES[report.name].calls_a_day
        rest = f" (rests for {report.rest_seconds:.0f} s)" if report.trouble else ""
        table.add_row(
            Text(report.name),
            Text("on", "green") if report.name in on else Text("off", "dim"),
            Text(f"{report.calls_today} of {budget}" if budget else str(report.calls_today)),
            Text(str(report.boards)),
            Text(f"{report.postings:,}"),
            Text(f"{report.trouble}{rest}" if report.trouble else ""),
        )
    return table


def table_of(*columns: str) -> Table:
    """An empty table of these columns; short ones are never wrapped."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in SHORT)
    return table


def workers(found: Sequence[ReadWorker]) -> Table:
    """A table of workers."""
    table = table_of("worker", "", "busy", "kinds", "version", "since")
    for worker in found:
        table.add_row(
            Text(f"{worker.host} {worker.pid}"),
            Text(worker.state, "green" if worker.state == "working" else "yellow"),
            Text(f"{worker.held} of {worker.slots}"),
            Text(" ".join(worker.kinds)),
            Text(worker.version),
            Text(f"{worker.started_at:%d %b %H:%M}"),
        )
    return table


@contextmanager
def progress_bar(console: Console, kind: Kind[Any, Any]) -> Iterator[Callable[[ReadRun], None]]:
    """A live bar; call what it gives with each reading of the run."""
    bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), console=console)
    with bar:
        task = bar.add_task(kind.title, total=100)
        yield lambda run: bar.update(task, completed=run.percent or 0, description=_doing(kind, run))


def _pay(posting: FoundPosting) -> str:
    """Such as `90,000-120,000 USD a year`; nothing when nothing is known."""
    bounds = [f"{bound:,.10g}" for bound in (posting.salary_min, posting.salary_max) if bound is not None]
    if not bounds:
        return ""
    interval = f"a {posting.salary_interval}".replace("a hour", "an hour") if posting.salary_interval else ""
    return " ".join(word for word in ("-".join(dict.fromkeys(bounds)), posting.salary_currency, interval) if word)


def _doing(kind: Kind[Any, Any], run: ReadRun) -> str:
    if run.status == Status.PENDING:
        return f"{kind.title}: waiting ({run.waiting or 'for a free worker'})"
    words = {step.name: step.text for step in kind.steps}
    return run.detail or words.get(run.step or "") or kind.doing


def _error(run: ReadRun) -> str:
    return str((run.error or {}).get("message", ""))


def _seconds(start: datetime | None, end: datetime | None) -> str:
    return f"{(end - start).total_seconds():.1f} s" if start and end else ""
