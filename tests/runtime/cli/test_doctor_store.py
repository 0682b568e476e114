"""adsn-doctor's checks of the shared store, with a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.cli.doctor.store import store_diagnoses
from runtime.cli.options import store_settings
from runtime.config.store import StoreSettings
from tests.support.service.redis_server import RedisServer, free_port, redis_server, require_redis


def found(server: RedisServer, **settings: Any) -> list[tuple[str, str]]:
    return [(one.level, one.detail) for one in store_diagnoses(StoreSettings(**{"url": server.url, **settings}))]


def test_a_store_is_asked(tmp_path: Path) -> None:
    with redis_server(tmp_path, require_redis(), appendonly="yes") as server:
        ((level, told),) = found(server)
        assert level in ("ok", "warn")
        assert f"at 127.0.0.1:{server.port}, " in told
        server.ask("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl")
        assert [level for level, told in found(server) if "volatile-ttl" in told] == ["fail"]
        server.ask("CONFIG", "SET", "appendonly", "no")
        assert [level for level, told in found(server) if "Set appendonly." in told] == ["warn"]
        server.ask("CONFIG", "SET", "maxmemory", "0", "requirepass", "correct-horse-battery")
        server.options["requirepass"] = "correct-horse-battery"
        ((level, told),) = found(server, password="wrong-horse-battery")
        assert (level, "refuses this user" in told, "horse" in told) == ("fail", True, False)
        server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
        told_all = found(server, password="correct-horse-battery")
        assert any(level == "fail" and "is a replica" in told for level, told in told_all)


def test_a_store_that_is_away_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli.doctor.store.TIMEOUT_S", 0.2)
    with redis_server(tmp_path, require_redis()) as server:
        server.pause()
        ((level, told),) = found(server)
        assert (level, "no answer within" in told) == ("fail", True)
        server.kill()
        ((level, told),) = found(server)
        assert (level, "cannot be reached" in told) == ("fail", True)


def test_the_address_comes_from_the_file_and_the_password_from_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('port = 9000\n[store]\nurl = "rediss://store.example"\n')
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "store.password").write_text("correct-horse-battery\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "secrets"))
    monkeypatch.setenv("ADSN_STORE__PREFIX", "door:")
    settings = store_settings(config)
    assert str(settings.address) == "store.example:6379"
    assert settings.prefix == "door:"
    assert settings.password is not None
    assert settings.password.get_secret_value() == "correct-horse-battery"
    assert "horse" not in repr(settings)
