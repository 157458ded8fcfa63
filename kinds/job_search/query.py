"""Query: what a person types, as the words that must and must not occur."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PART = re.compile(r'(-?)"([^"]*)"?|(-?)([^\s"]+)')
_JOINED = str.maketrans("/.", "  ")  # as foxtrot.lexemes has it: `Backend/API` and `Vue.js` are two words each


@dataclass(frozen=True)
class Branch:
    """One side of an `OR`: words or phrases that all occur, and those that don't."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """Any of the branches must hold; `phrase` is all wanted words in a row, of a query of one branch with several."""

    branches: tuple[Branch, ...]
    phrase: str | None

    @property
    def words(self) -> set[str]:
        """Every word and phrase of the branches."""
        return {word for branch in self.branches for word in (*branch.wanted, *branch.unwanted)}

    @property
    def lookups(self) -> set[str]:
        """All that has to be looked up: the words, and the phrase."""
        return self.words | ({self.phrase} if self.phrase else set())


def parse_query(text: str) -> Query:
    """`"in quotes"` together, `-word` not at all, `OR` between alternatives; everything else must occur."""
    branches: list[tuple[list[str], list[str]]] = [([], [])]
    for minus, words, quoted in _parts(text):
        if words.lower() == "or" and not quoted and not minus:
            branches.append(([], []))
        elif words.strip():
            branches[-1][1 if minus else 0].append(words)
    made = tuple(Branch(tuple(wanted), tuple(unwanted)) for wanted, unwanted in branches if wanted or unwanted)
    several = len(made) == 1 and len(made[0].wanted) > 1
    return Query(made, " ".join(made[0].wanted) if several else None)


def look_up(query: Query, lookups: Mapping[str, str]) -> Query | None:
    """The query in the terms of the index, without the words that are too common (`''`) to be looked up.

    None when there is nothing to look up: no word is left, or a branch has only words that must not occur.
    """
    branches = tuple(
        Branch(_known(branch.wanted, lookups), _known(branch.unwanted, lookups)) for branch in query.branches
    )
    left = tuple(branch for branch in branches if branch.wanted or branch.unwanted)
    if not left or not all(branch.wanted for branch in left):
        return None
    several = query.phrase is not None and len(left[0].wanted) > 1
    return Query(left, lookups[query.phrase] if several and query.phrase else None)


def _known(words: tuple[str, ...], lookups: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lookups[word] for word in words if lookups[word]))


def _parts(text: str) -> Iterator[tuple[str, str, bool]]:
    for match in _PART.finditer(text.translate(_JOINED)):
        quoted = match.group(2) is not None
        yield (match.group(1) or match.group(3) or "", match.group(2) if quoted else match.group(4), quoted)
