"""Cursors: where the next page begins, as text that a client hands back and does not read."""

import base64
from collections.abc import Callable
from typing import TypeVar

from shared.errors import InvalidInputError

T = TypeVar("T")

MAX_OFFSET = 2**31 - 1


def encode_cursor(mark: object) -> str:
    """The cursor of that mark."""
    return base64.urlsafe_b64encode(str(mark).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, read: Callable[[str], T]) -> T:
    """The mark, as `read` makes it from text (ValueError when it can't); raises `InvalidInputError`."""
    try:
        return read(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode())
    except ValueError as error:
        raise InvalidInputError(
            "cursor: not one that this list has given out", field="cursor", hint="Leave it out to begin anew."
        ) from error


def read_offset(text: str) -> int:
    """The mark of a list that is read by offset; raises ValueError."""
    offset = int(text)
    if not 0 <= offset <= MAX_OFFSET:
        raise ValueError("out of range")
    return offset
