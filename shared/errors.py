"""Every error Foxtrot raises on purpose; a message names the thing, its value and the way out."""


class FoxtrotError(Exception):
    """Base of all of them. `hint` is one more sentence for the person who can mend it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(FoxtrotError):
    """A setting is missing or wrong: the process does not start."""


class InvalidInputError(FoxtrotError):
    """What the caller sent can't be used; `field` is its path, such as `parameters.query`."""

    def __init__(self, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field


class UnknownKindError(InvalidInputError):
    """No such kind in the registry."""


class InvalidCronError(InvalidInputError):
    """A cron expression outside the dialect, one that never fires, or one that fires too often."""


class InvalidZoneError(InvalidInputError):
    """A zone name that the pinned tzdata does not list."""


class NotFoundError(FoxtrotError):
    """No such row, or not the caller's: the two answers are the same on purpose."""


class ConflictError(FoxtrotError):
    """The thing is there, but as it stands now this can't be done to it."""


class InvalidTokenError(FoxtrotError):
    """A token that is forged, ended or malformed: nobody is let in by it."""


class DatabaseError(FoxtrotError):
    """Postgres is missing, too old, not migrated, or answers nothing in time."""


class HandlerError(FoxtrotError):
    """What a handler raises to fail its attempt with words for the user.

    `retry` says whether another attempt can help; `retry_after` is the wait in seconds that the other side asked for.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, retry: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry
        self.retry_after = retry_after
