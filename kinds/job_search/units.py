"""Fetch units: which boards of which sources a search is over."""

from collections.abc import Iterator
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


def units_of(parameters: JobSearch, settings: JobSearchSettings) -> list[Unit]:
    """The boards of a search: its companies', or the installation's `JOB_BOARDS` and its sources without such boards.

    Narrowed to `sources`, if it names some. Sources that are switched off are among them only for boards that the
    search itself names.
    """
    named = [Unit(*split_board(name)) for name in parameters.companies or settings.job_boards]
    if not parameters.companies:
        named = [unit for unit in named if unit.source in settings.job_sources]
        named += _without_companies(parameters, settings)
    return [unit for unit in named if parameters.sources is None or unit.source in parameters.sources]


def _without_companies(parameters: JobSearch, settings: JobSearchSettings) -> Iterator[Unit]:
    for name in settings.job_sources:
        boards = SOURCES[name].boards
        for board in boards(parameters.query, parameters.location) if boards else ():
            yield Unit(name, board)
