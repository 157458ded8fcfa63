"""The sources of postings. A new one is a module that defines a `Source`, and one line here."""

from kinds.job_search.sources.arbeitnow import ARBEITNOW
from kinds.job_search.sources.ashby import ASHBY
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.greenhouse import GREENHOUSE
from kinds.job_search.sources.jobspy import JOBSPY
from kinds.job_search.sources.lever import LEVER
from kinds.job_search.sources.remoteok import REMOTEOK
from kinds.job_search.sources.remotive import REMOTIVE

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        GREENHOUSE,
        LEVER,
        ASHBY,
        REMOTIVE,
        ARBEITNOW,
        REMOTEOK,
        JOBSPY,
    )
}

__all__ = ["SOURCES", "Fetched", "Source"]
