"""Invented postings and searches, the same at every run, with words about as common as they are on real boards."""

import html
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from kinds.job_search.posting import Posting

SEED = 20261126
NEWEST = datetime(2026, 11, 25, tzinfo=UTC)
DAYS = 200

LEVELS = ("Senior", "Staff", "Principal", "Junior", "Lead", "Associate", "Head of")
ROLES = (
    "Software Engineer", "Product Manager", "Data Engineer", "Account Executive", "Designer", "Data Analyst",
    "Machine Learning Engineer", "Customer Success Manager", "Security Engineer", "Recruiter", "Marketing Manager",
    "Solutions Architect", "Frontend Developer", "Backend Developer", "Program Manager", "Support Specialist",
    "Research Scientist", "Operations Analyst", "Technical Writer", "Counsel", "Site Reliability Engineer",
    "Android Engineer", "iOS Engineer", "QA Tester", "Accountant", "Copywriter", "Nurse", "Teacher", "Driver", "Chef",
)  # fmt: skip
DOMAINS = (
    "Payments", "Growth", "Platform", "Infrastructure", "Search", "Ads", "Risk", "Identity", "Mobile", "Health",
    "Cloud", "Analytics", "Storage", "Billing", "Trust", "Maps", "Video", "Games", "Robotics", "Energy",
)  # fmt: skip
CITIES = (
    "London, UK", "New York, NY", "San Francisco, CA", "Berlin, Germany", "Remote", "Dublin, Ireland", "Paris, France",
    "Toronto, Canada", "Bengaluru, India", "Sydney, Australia", "Austin, TX", "Tokyo, Japan", "Madrid, Spain",
    "Chicago, IL", "Lagos, Nigeria", "Oslo, Norway",
)  # fmt: skip
# What most descriptions are made of: the first of them is in 40 % of all, the last in 6 %.
COMMON = (
    "engineer", "team", "experience", "work", "product", "software", "data", "customers", "business", "design",
    "systems", "build", "lead", "people", "manager", "role", "company", "support", "platform", "skills",
    "engineering", "development", "python", "cloud", "security", "sales", "marketing", "analytics", "research",
    "infrastructure", "finance", "developer", "java", "kubernetes", "healthcare", "payments", "growth", "operations",
    "learning", "mobile",
)  # fmt: skip
TAIL = 20_000  # rare words, by Zipf's law
TAIL_WORDS = 250  # of them in a description: with the common ones about 2 kB
PHRASES = 400
NARROWED = 1 / 3  # of the searches name a city


def board_name(number: int) -> str:
    """A Greenhouse board."""
    return f"board-{number}"


def invent_postings(boards: range, each: int) -> Iterator[Posting]:
    """`each` postings for each board, board by board; a board has the same ones whatever the range it is in."""
    tail, weights = _tail(), list(accumulate(1 / (rank + 3) for rank in range(TAIL)))
    for board in boards:
        rng = random.Random(SEED + board)
        for number in range(each):
            words = rng.choices(tail, cum_weights=weights, k=TAIL_WORDS)
            words += [word for at, word in enumerate(COMMON) if rng.random() < 2.4 / (6 + at)]
            rng.shuffle(words)
            yield _posting(rng, board, board * each + number, " ".join(words))


def greenhouse_answer(postings: Sequence[Posting]) -> dict[str, Any]:
    """A board's postings as Greenhouse lists them."""
    return {"jobs": [_job(posting) for posting in postings], "meta": {"total": len(postings)}}


def invent_searches(users: int) -> list[dict[str, Any]]:
    """A search for each user: 400 phrases, some asked for by many; every third with a city, every eighth with marks."""
    rng = random.Random(SEED)
    phrases = _phrases(rng)
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(phrases))))
    return [_search(rng, phrase) for phrase in rng.choices(phrases, cum_weights=weights, k=users)]


def rare_words(count: int) -> list[str]:
    """The rarest words: about one description in a thousand has one of them."""
    return _tail()[-count:]


def _tail() -> list[str]:
    rng = random.Random(SEED)
    words: dict[str, None] = {}
    while len(words) < TAIL:
        syllables = (rng.choice("bcdfghklmnprtvwz") + rng.choice("aiou") for _ in range(rng.randint(2, 4)))
        words["".join(syllables) + rng.choice("kmnrt")] = None
    return list(words)


def _posting(rng: random.Random, board: int, number: int, text: str) -> Posting:
    domain, place = rng.choice(DOMAINS), rng.choice(CITIES)
    level = f"{rng.choice(LEVELS)} " if rng.random() < 0.6 else ""  # noqa: PLR2004 - three in five
    return Posting(
        source="greenhouse",
        board=board_name(board),
        external_id=str(number),
        url=f"https://boards.example/{board_name(board)}/{number}",
        title=f"{level}{rng.choice(ROLES)}, {domain}",
        company=f"Company {board}",
        departments=(domain,),
        places=(place,),
        remote=True if place == "Remote" else None,
        text=text,
        posted_at=NEWEST - timedelta(days=DAYS * rng.random()),
    )


def _job(posting: Posting) -> dict[str, Any]:
    posted = posting.posted_at.isoformat() if posting.posted_at else None
    return {
        "id": int(posting.external_id),
        "title": posting.title,
        "absolute_url": posting.url,
        "company_name": posting.company,
        "location": {"name": "; ".join(posting.places)},
        "departments": [{"name": department} for department in posting.departments],
        "metadata": [],
        "first_published": posted,
        "updated_at": posted,
        "content": html.escape(f"<p>{posting.text}</p>"),
    }


def _phrases(rng: random.Random) -> list[str]:
    """Roles as people type them, the plain ones first: those are what many ask for."""
    plain = [*(role.lower() for role in ROLES), "engineer", "manager", "analyst", "developer", "designer"]
    longer = [f"{level} {role}".lower() for level in LEVELS for role in ROLES]
    longer += [f"{role} {domain}".lower() for role in ROLES for domain in DOMAINS]
    rng.shuffle(plain)
    rng.shuffle(longer)
    return [*plain, *longer][:PHRASES]


def _search(rng: random.Random, phrase: str) -> dict[str, Any]:
    query = phrase
    if rng.random() < 1 / 8:
        query = rng.choice((f'"{phrase}"', f"{phrase} -senior", f"{phrase} OR {rng.choice(ROLES).lower()}"))
    if rng.random() < NARROWED:
        return {"query": query, "location": rng.choice(CITIES).partition(",")[0].lower()}
    return {"query": query}
