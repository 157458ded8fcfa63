"""Text from outside made plain: storable, comparable, and free of markup."""

import re
import unicodedata
from html import unescape

# to_tsvector refuses more than 1 MB of words; the longest recorded description has 15,000 characters.
TEXT_LENGTH = 30_000
HTML_LENGTH = 10 * TEXT_LENGTH

# What lies between < and > is taken in one stretch and its name cut out afterwards: no input makes this quadratic.
_MARK = re.compile(r"<!--|-->|<(/?[A-Za-z][^<>]*)>")
_NAME = re.compile(r"[A-Za-z0-9]+")
_BLOCK = re.compile(r"address|article|br|d[dlt]|div|h[1-6r]|li|[ou]l|p|section|t[dhr]|table")
_UNSHOWN = frozenset({"script", "style", "template", "noscript", "iframe", "svg", "title"})
_COMMENT, _COMMENT_END = "<!--", "-->"


def clean(text: str, length: int) -> str:
    """One line of at most `length` characters that Postgres can hold: no NUL, no half of a surrogate pair."""
    storable = text.replace("\0", "").encode("utf-8", "replace").decode()
    return " ".join(storable.split())[:length].rstrip()


def fold(text: str) -> str:
    """For comparing names: no case, no accents, one space between words."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return " ".join(plain.casefold().split())


def unescape_entities(text: str) -> str:
    """`&amp;` and its like replaced; a text that `html.unescape` refuses (a number of 5,000 digits) stays as it is."""
    try:
        return unescape(text)
    except ValueError:
        return text


def html_to_text(html: str) -> str:
    """The words of an HTML description, one line per block; scripts, styles and comments are left out.

    A tokenizer in one linear pass rather than a parser: what comes in is hostile at worst, and what goes out is text.
    Only the first `HTML_LENGTH` characters are read and the first `TEXT_LENGTH` kept.
    """
    html = " ".join(html[:HTML_LENGTH].split())
    kept: list[str] = []
    hidden_by: str | None = None
    at = 0
    for mark in _MARK.finditer(html):
        if hidden_by is None:
            kept.append(html[at : mark.start()])
        at = mark.end()
        name, closing = _read(mark)
        hidden_by = _hidden_by(hidden_by, name, closing=closing)
        if hidden_by is None and _BLOCK.fullmatch(name):
            kept.append("\n")
    if hidden_by is None:
        kept.append(html[at:])
    lines = (clean(unescape_entities(line), TEXT_LENGTH) for line in "".join(kept).split("\n"))
    return "\n".join(line for line in lines if line)[:TEXT_LENGTH].rstrip()


def _read(mark: re.Match[str]) -> tuple[str, bool]:
    """The name of a tag, or a comment's mark; and whether it is a closing tag."""
    inner = mark.group(1)
    if inner is None:
        return mark.group(), False
    name = _NAME.search(inner)
    return name.group().lower() if name else "", inner.startswith("/")


def _hidden_by(hidden_by: str | None, name: str, *, closing: bool) -> str | None:
    """The comment or unshown element that holds what follows this mark."""
    if hidden_by == _COMMENT:
        return None if name == _COMMENT_END else hidden_by
    if hidden_by is not None:
        return None if closing and name == hidden_by else hidden_by
    return name if name == _COMMENT or (name in _UNSHOWN and not closing) else None
