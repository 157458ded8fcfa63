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
    assert (repr(value) in message) == (name != "JWT_SECRET")
    assert "\n" not in message
    assert "Value error" not in message


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
