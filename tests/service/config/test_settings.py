"""Settings: values refused before anything listens."""

from __future__ import annotations

import pytest

from runtime.core.errors import ConfigError
from runtime.core.hosts import is_loopback
from service.config.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ADSN_{name.upper()}", raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "kiosk.example", "127.0.0.1.example"])
def test_a_public_address_needs_a_key(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="ADSN_API_KEY"):
        read_settings(options={"host": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert read_settings(options={"host": host}).host == host


def test_a_key_from_the_environment_opens_a_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSN_API_KEY", "k" * 24)
    settings = read_settings(options={"host": "0.0.0.0"})
    assert settings.api_key is not None
    assert "kkkk" not in repr(settings)


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSN_API_KEY", "hunter2")
    with pytest.raises(ConfigError, match="16 characters") as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_line_break_behind_a_key_is_no_part_of_it(
    ending: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ADSN_API_KEY", "k" * 24 + ending)
    settings = read_settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "k" * 24
    assert "ADSN_API_KEY ends in a line break" in caplog.text
    assert "kkkk" not in caplog.text


@pytest.mark.parametrize(
    "key", ["k" * 24 + " ", " " + "k" * 24, "k" * 12 + "\t" + "k" * 12, "é" * 24, "k\n" * 12 + "k"]
)
def test_a_key_that_no_header_can_carry_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSN_API_KEY", key)
    with pytest.raises(ConfigError, match="without blanks") as caught:
        read_settings()
    assert key.strip() not in str(caught.value)


def test_every_wrong_entry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSN_PORT", "70000")
    monkeypatch.setenv("ADSN_WORKERS", "none")
    with pytest.raises(ConfigError, match=r"(?s)ADSN_PORT.*ADSN_WORKERS"):
        read_settings()


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSN_PORT", "9001")
    assert read_settings(options={"port": 9002}).port == 9002
    assert read_settings(options={"port": None}).port == 9001
