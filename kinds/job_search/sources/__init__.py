"""The sources of postings. A new one is a module that defines a `Source`, and one line here."""

from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.greenhouse import GREENHOUSE

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        GREENHOUSE,  # one source a line
    )
}

__all__ = ["SOURCES", "Fetched", "Source"]
