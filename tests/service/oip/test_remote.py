"""Remote scoring against our own server: the contract of all engines, keys, settings, and the shipped bundle."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from runtime.bundle.manifest import open_bundle
from runtime.core.errors import ConfigError, EngineUnavailable, InferenceFailed
from runtime.engines.base import InputSpec
from runtime.engines.remote.connection import RemoteConnection, RemoteSettings
from runtime.engines.remote.engine import RemoteEngine
from runtime.liveness.open import open_engine, open_pipeline
from service.auth.keys import new_key, toml_of
from service.config.settings import Settings, TlsSettings, read_settings
from service.config.trust import AuthSettings
from tests.support.fakes import SIZE, FakeEngine
from tests.support.models.engine_contract import EngineContract, Reference, random_batch
from tests.support.service.certificates import Authority
from tests.support.service.remote_servers import (
    INPUTS,
    golden,
    linked,
    remote,
)
from tests.support.service.running_service import RunningService, running


class TestContract(EngineContract):
    @pytest.fixture
    def engine(self, service: RunningService) -> RemoteEngine:
        return remote(service.port)

    @pytest.fixture
    def reference(self) -> Reference:
        """Return the engine of the server, because the protocol must not change its scores."""
        behind = FakeEngine()
        return Reference(behind, random_batch(behind, 3, seed=5), 0.0)


def test_it_says_what_runs_where(service: RunningService) -> None:
    info = remote(service.port).info
    assert (info.backend, info.precision, info.device) == ("remote", "int8", f"127.0.0.1:{service.port}")
    assert info.versions == {"model": "1", "artifact": "model-int8-cpu", "backend": "fake"}


def test_another_model_is_refused(service: RunningService) -> None:
    with pytest.raises(EngineUnavailable, match="the local manifest has 111111111111"):
        remote(service.port, sha256="1" * 64)


def test_a_server_that_computes_something_else_is_refused(service: RunningService) -> None:
    service.engine.error = InferenceFailed("it burnt.")
    try:
        with pytest.raises(EngineUnavailable, match="it burnt"):
            remote(service.port, retries=0)
    finally:
        service.engine.error = None
    other = golden()
    other.scores["int8"][:] = 0.0
    with pytest.raises(EngineUnavailable, match="does not reproduce"):
        RemoteEngine(
            linked(f"http://127.0.0.1:{service.port}"),
            "fake",
            INPUTS,
            {"0" * 64: "model-int8-cpu"},
            other,
        )


def test_other_inputs_are_refused(service: RunningService) -> None:
    to = linked(f"http://127.0.0.1:{service.port}")
    for inputs in (INPUTS[:1], (INPUTS[0], InputSpec("depth", "float32", (SIZE, SIZE, 1)))):
        with pytest.raises(EngineUnavailable):
            RemoteEngine(to, "fake", inputs, {"0" * 64: "model-int8-cpu"}, golden())
    with pytest.raises(EngineUnavailable, match="unknown model"):
        RemoteEngine(to, "other", INPUTS, {"0" * 64: "model-int8-cpu"}, golden())


def test_keys_and_certificates(tmp_path: Path) -> None:
    key, entry = new_key(["infer"], "kiosk")
    (tmp_path / "keys.toml").write_text(toml_of(entry))
    (tmp_path / "keys.toml").chmod(0o600)
    authority = Authority(tmp_path)
    certificate, private = authority.issue("server")
    own, own_key = authority.issue("kiosk")
    tls = TlsSettings(certificate=certificate, key=private, client_ca=authority.certificate)
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(own, own_key)
    with running(Settings(tls=tls, auth=AuthSettings(keys=tmp_path / "keys.toml")), verify=context) as service:
        mine: dict[str, Any] = {
            "ca": authority.certificate,
            "certificate": own,
            "certificate_key": own_key,
            "retries": 0,
        }
        engine = remote(service.port, scheme="https", key=key, **mine)
        engine.infer(random_batch(engine, 1))
        engine.close()
        with pytest.raises(EngineUnavailable, match="401"):
            remote(service.port, scheme="https", **mine)
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            remote(service.port, scheme="https", key=key, ca=authority.certificate, retries=0)
        with pytest.raises(EngineUnavailable, match="not trusted"):
            remote(service.port, scheme="https", key=key, **{**mine, "ca": None})
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            remote(service.port, key=key, retries=0, timeout_s=2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "http://192.0.2.1:8000"}, "unencrypted"),
        ({"url": "http://127.0.0.1.example:8000"}, "unencrypted"),
        ({"url": "ftp://127.0.0.1"}, "https://HOST:PORT"),
        ({"url": "127.0.0.1:8000"}, "https://HOST:PORT"),
        ({"url": "https://127.0.0.1:8000/v2"}, "https://HOST:PORT"),
        ({"url": "https://127.0.0.1:x"}, "port"),
        ({"url": "https://me:secret@127.0.0.1"}, "password"),
        ({"url": "https://127.0.0.1", "ca": Path("/nonexistent.pem")}, "nonexistent"),
        ({"url": "https://127.0.0.1", "key": "a\r\nb"}, "characters"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        RemoteConnection(RemoteSettings(**settings))
    assert "secret" not in str(caught.value)


def test_plain_http_to_elsewhere_is_the_operators_explicit_wish() -> None:
    assert RemoteConnection(RemoteSettings("http://192.0.2.1:8000", plaintext=True)).port == 8000
    assert "k" * 20 not in repr(RemoteSettings("https://192.0.2.1", key="k" * 20))


# The shipped bundle, end to end.


def test_a_kiosk_scores_on_a_server_with_the_same_bundle() -> None:
    local = open_pipeline(Settings().bundle)
    with running(Settings(), lambda: open_pipeline(Settings().bundle)) as service:
        elsewhere = open_pipeline(
            Settings().bundle,
            backend="remote",
            remote=RemoteSettings(f"http://127.0.0.1:{service.port}"),
            required=True,
        )
        engine = elsewhere.pipeline.engine
        assert engine.info.backend == "remote"
        assert not engine.info.degraded
        assert elsewhere.model_sha256 == local.model_sha256
        batch = random_batch(engine, 2)
        assert np.array_equal(engine.infer(batch).score, local.pipeline.engine.infer(batch).score)
        engine.close()
    local.pipeline.engine.close()


def test_a_kiosk_whose_server_is_away_scores_by_itself_unless_that_is_forbidden() -> None:
    bundle = open_bundle(Settings().bundle)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = RemoteSettings(f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_s=0.2, retries=0)
        with pytest.raises(EngineUnavailable, match="remote is required"):
            open_engine(bundle, backend="remote", remote=away, required=True)
        engine = open_engine(bundle, backend="remote", remote=away)
    assert engine.info.backend == "onnx-cpu"
    assert engine.info.degraded
    assert "timed out" in engine.info.reason
    engine.close()


def test_the_settings_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"remote\.url"):
        read_settings(environ={"ADSN_ENGINE": "remote"})
    environ = {"ADSN_ENGINE": "remote", "ADSN_REMOTE__URL": "https://192.0.2.1", "ADSN_REMOTE__KEY": "k" * 20}
    found = read_settings(environ={**environ, "ADSN_REMOTE__TIMEOUT_MS": "500", "ADSN_REMOTE__MODEL": "other"}).remote
    assert found.key == SecretStr("k" * 20)
    assert found.engine() == RemoteSettings("https://192.0.2.1", key="k" * 20, timeout_s=0.5, model="other")
