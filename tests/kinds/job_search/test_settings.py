from datetime import timedelta

import pytest

from kinds.job_search.settings import JobSearchSettings
from shared.errors import SettingsError


def test_boards_are_a_list_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_BOARDS", " stripe, elastic,,stripe ")
    assert JobSearchSettings.load().job_boards == ["stripe", "elastic"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_BOARDS", "stripe,../etc"),
        ("JOB_BOARDS", "stripe,https://example.com"),
        ("JOB_BOARDS", "a:b:c"),
        ("JOB_SOURCES", "greenhouse,../etc"),
        ("JOB_SOURCES_URL", "boards.example"),
        ("JOB_FETCH_SECONDS", "0"),
        ("JOB_FRESHNESS_SECONDS", "soon"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: [^\n]+$"):
        JobSearchSettings.load()


def test_freshness_is_the_sources_own_unless_set() -> None:
    own = timedelta(minutes=10)
    assert JobSearchSettings().freshness(own) == own
    assert JobSearchSettings(job_freshness_seconds=5).freshness(own) == timedelta(seconds=5)
