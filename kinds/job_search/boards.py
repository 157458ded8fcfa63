"""Boards by name: `stripe` is a Greenhouse board, `lever:spotify` one of another source."""

from kinds.job_search.sources import SOURCES

DEFAULT_SOURCE = "greenhouse"


def split_board(name: str) -> tuple[str, str]:
    """The source and the board that a name such as `lever:spotify` stands for.

    Raises `ValueError` when there is no such source, or it has no boards of companies.
    """
    source, colon, board = name.rpartition(":")
    source = source if colon else DEFAULT_SOURCE
    check_source(source)
    if SOURCES[source].boards is not None:
        raise ValueError(f"{name!r}: {SOURCES[source].title} has no boards of companies")
    return source, board


def check_source(name: str) -> str:
    """The name; raises `ValueError` listing the sources there are when it is none of them."""
    if name not in SOURCES:
        raise ValueError(f"source {name!r} is unknown; known sources: {', '.join(SOURCES)}")
    return name
