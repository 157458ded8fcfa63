"""How asking a source can fail; `rest` is how long, in seconds, nobody asks it again unless it named a time itself."""

from typing import ClassVar

from shared.errors import HandlerError


class SourceError(HandlerError):
    """A source gave no usable answer; `retry` says whether asking later can help."""

    rest: ClassVar[float] = 60
    can_pass: ClassVar[bool] = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, retry=self.can_pass, retry_after=self.rest if retry_after is None else retry_after)


class UnknownBoardError(SourceError):
    """404: the source has no such board."""

    rest = 600
    can_pass = False


class RefusedError(SourceError):
    """401 or 403: the source won't serve us."""

    rest = 900
    can_pass = False


class ThrottledError(SourceError):
    """429: asked too often."""


class UnavailableError(SourceError):
    """No answer, an answer that broke off, or 5xx."""

    rest = 10


class UnusableAnswerError(SourceError):
    """It answered, but not with postings: a web page, other JSON, too much, or a pointer to another host."""

    can_pass = False
