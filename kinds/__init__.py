"""The kinds that come with Foxtrot; `FOXTROT_KINDS` names this module unless it is set."""

from kinds.job_search.kind import JOB_SEARCH

__all__ = ["JOB_SEARCH"]
