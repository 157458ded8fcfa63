from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import SettingsError
from shared.settings import LEASE, RENEW_EVERY, Settings

SECRET = "a secret of 32 characters or more"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine and no `.env` of this folder reaches a test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_has_a_default_that_starts() -> None:
    settings = Settings.load()
    assert (settings.database_url, settings.jwt_secret) == (None, None)
    assert settings.foxtrot_kinds == ["kinds"]
    assert (settings.default_zone, settings.host, settings.port) == ("Europe/London", "127.0.0.1", 8000)
    assert 3 * RENEW_EVERY == LEASE
    assert (settings.cron_secret, settings.cron_secret_previous) == (None, None)
    assert settings.refresh_times == ["08:00", "10:00", "14:00", "16:00", "16:45", "22:00"]
    assert (settings.inactive_after_days, settings.failures_before_pause, settings.schedules_per_user) == (30, 10, 50)


def test_a_setting_is_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("DEFAULT_ZONE", "Asia/Kolkata")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    settings = Settings.load()
    assert (settings.port, settings.default_zone) == (9000, "Asia/Kolkata")
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == SECRET


def test_the_file_env_counts_where_the_environment_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nWORKER_SLOTS=3\nSOMETHING_ELSE=1\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "9001")
    settings = Settings.load()
    assert (settings.port, settings.worker_slots) == (9001, 3)


@pytest.mark.parametrize("text", ["kinds,my_app.kinds", " kinds , my_app.kinds ,"])
def test_kinds_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FOXTROT_KINDS", text)
    assert Settings.load().foxtrot_kinds == ["kinds", "my_app.kinds"]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("16:45, 08:00", ["08:00", "16:45"]),
        ("00:00", ["00:00"]),
        ("23:55,00:00,00:05,", ["00:00", "00:05", "23:55"]),
        (",".join(f"{hour:02}:30" for hour in range(10)), [f"{hour:02}:30" for hour in range(10)]),
    ],
)
def test_refresh_times_are_kept_in_order(monkeypatch: pytest.MonkeyPatch, text: str, times: list[str]) -> None:
    monkeypatch.setenv("REFRESH_TIMES", text)
    assert Settings.load().refresh_times == times


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("PORT", "http", "valid integer"),
        ("PORT", "0", "greater than or equal to 1"),
        ("PORT", "65536", "less than or equal to 65535"),
        ("WORKER_SLOTS", "0", "greater than or equal to 1"),
        ("MANUAL_RESERVE", "1", "less than 1"),
        ("CRON_CREDIT", "-0.1", "greater than or equal to 0"),
        ("SCHEDULER_INTERVAL_SECONDS", "0", "greater than or equal to 0.1"),
        ("RETENTION_DAYS", "366", "less than or equal to 365"),
        ("DEFAULT_ZONE", "Europe/Londn", "'Europe/Londn' is no zone"),
        ("DEFAULT_ZONE", "localtime", "'localtime' is no zone"),
        ("JWT_SECRET", "short", "at least 32 characters"),
        ("CRON_SECRET", "", "at least 16 characters"),
        ("CRON_SECRET", "fifteen-letters", "at least 16 characters"),
        ("CRON_SECRET", "sixteen letters and more", "without spaces"),
        ("CRON_SECRET", "a-line-of-its-own\n", "without spaces"),
        ("CRON_SECRET", "s\u00e9cr\u00e8t-s\u00e9cr\u00e8t-s\u00e9cr\u00e8t", "ASCII"),
        ("CRON_SECRET_PREVIOUS", "fifteen-letters", "at least 16 characters"),
        ("INACTIVE_AFTER_DAYS", "0", "greater than or equal to 1"),
        ("FAILURES_BEFORE_PAUSE", "101", "less than or equal to 100"),
        ("SCHEDULES_PER_USER", "10001", "less than or equal to 10000"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    message = raised.value.message
    assert message.startswith(f"{name}: ")
    assert fault in message
    assert (repr(value) in message) == ("SECRET" not in name)
    assert "\n" not in message
    assert "Value error" not in message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "between 1 and 10 times of day"),
        (" , ", "between 1 and 10 times of day"),
        (",".join(f"{hour:02}:00" for hour in range(11)), "between 1 and 10 times of day"),
        ("8:00", "'8:00' is no time of day"),
        ("08:00,24:00", "'24:00' is no time of day"),
        ("08:60", "'08:60' is no time of day"),
        ("08:00:30", "'08:00:30' is no time of day"),
        ("\u0660\u0668:00", "is no time of day"),
        ("08:00,08:04", "at least 5 minutes"),
        ("08:00,08:00", "at least 5 minutes"),
        ("23:58,00:02", "at least 5 minutes"),
    ],
)
def test_wrong_refresh_times_are_one_line_too(monkeypatch: pytest.MonkeyPatch, text: str, fault: str) -> None:
    monkeypatch.setenv("REFRESH_TIMES", text)
    with pytest.raises(SettingsError, match=f"^REFRESH_TIMES: .*{fault}.*"):
        Settings.load()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:hidden@db/app")
    settings = Settings.load()
    assert SECRET not in repr(settings)
    assert "hidden" not in repr(settings)
    monkeypatch.setenv("JWT_SECRET", "far too short")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert "far too short" not in str(raised.value)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().port = 1  # type: ignore[misc]
