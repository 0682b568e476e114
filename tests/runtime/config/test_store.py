"""The store's settings: invalid addresses, unencrypted connections, and errors that do not repeat the password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.config.store import StoreSettings, connection_options
from runtime.core.errors import ConfigError
from service.config.settings import read_settings


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "tls"),
    [
        ("redis://127.0.0.1", "127.0.0.1", 6379, 0, False),
        ("redis://localhost:7000/3", "localhost", 7000, 3, False),
        ("rediss://store.example:6380/", "store.example", 6380, 0, True),
        ("redis://[::1]:6379/0", "::1", 6379, 0, False),
    ],
)
def test_addresses(url: str, host: str, port: int, database: int, tls: bool) -> None:
    address = StoreSettings(url=url).address
    assert address is not None
    assert (address.host, address.port, address.database, address.tls) == (host, port, database, tls)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "http://127.0.0.1"}, "nothing more"),
        ({"url": "redis://127.0.0.1/one"}, "nothing more"),
        ({"url": "redis://127.0.0.1/0?timeout=9"}, "nothing more"),
        ({"url": "redis://127.0.0.1:99999"}, "invalid port"),
        ({"url": "redis://:hunter2@127.0.0.1"}, "store.password"),
        ({"url": "redis://user:hunter2@127.0.0.1"}, "store.username"),
        ({"url": "redis://store.example"}, "unencrypted"),
        ({"url": "redis://10.0.0.7"}, "store.plaintext"),
        ({"url": "redis://127.0.0.1", "ca": "ca.pem"}, "need rediss://"),
        ({"url": "rediss://store.example", "certificate": "own.pem"}, "certificate_key"),
        ({"timeout_ms": 51}, "less than or equal to 50"),
        ({"timeout_ms": 0}, "greater than 0"),
        ({"prefix": ""}, "pattern"),
        ({"prefix": "a b:"}, "pattern"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        StoreSettings(**settings)
    errors = caught.value.errors(include_input=False, include_url=False)
    assert "hunter2" not in str([error["msg"] for error in errors])
    with pytest.raises(ConfigError, match="store") as refused:
        read_settings(environ={f"ADSN_STORE__{name.upper()}": str(value) for name, value in settings.items()})
    assert "hunter2" not in str(refused.value)


def test_another_layer_may_encrypt() -> None:
    assert StoreSettings(url="redis://store.example", plaintext=True).address is not None


def test_files_for_tls_are_looked_at_first(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"store\.ca: .*ca\.pem"):
        StoreSettings(url="rediss://store.example", ca=wrong).check_files()
    StoreSettings(url="redis://127.0.0.1").check_files()
    StoreSettings().check_files()


def test_tls_always_checks_who_answers() -> None:
    options = connection_options(StoreSettings(url="rediss://store.example"))
    assert (options["ssl_cert_reqs"], options["ssl_check_hostname"]) == ("required", True)
    with pytest.raises(ConfigError, match=r"store\.url is not set"):
        connection_options(StoreSettings())
