"""Fetch units: which boards of which sources a search is over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kinds.job_search.boards import split_board
from kinds.job_search.kind import JobSearch
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES


@dataclass(frozen=True)
class Unit:
    """What is asked, and stored, as one: a board of a source."""

    source: str
    board: str


def columns(units: Sequence[Unit]) -> dict[str, list[str]]:
    """Units as statements take them: `sources` and `boards` side by side."""
    return {"sources": [unit.source for unit in units], "boards": [unit.board for unit in units]}


def units_of(parameters: JobSearch, settings: JobSearchSettings) -> list[Unit]:
    """The boards of a search: its companies', or the installation's `JOB_BOARDS` and its sources without such boards.

    Each is there once, narrowed to `sources`, if it names some. Sources that are switched off are among them only where
    the search itself names them, or boards of theirs.
    """
    named = [Unit(*split_board(name)) for name in parameters.companies or settings.job_boards]
    if not parameters.companies:
        asked = list(dict.fromkeys([*settings.job_sources, *(parameters.sources or ())]))
        named = [unit for unit in named if unit.source in asked]
        named += _without_companies(parameters, asked)
    wanted = (unit for unit in named if parameters.sources is None or unit.source in parameters.sources)
    return list(dict.fromkeys(wanted))


def _without_companies(parameters: JobSearch, sources: Sequence[str]) -> Iterator[Unit]:
    for name in sources:
        boards = SOURCES[name].boards
        for board in boards(parameters.query, parameters.location) if boards else ():
            yield Unit(name, board)
