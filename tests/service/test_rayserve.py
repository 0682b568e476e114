"""Parts of a Ray Serve replica, without Ray; tests/deploy/test_ray.py runs a cluster."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from runtime.core.errors import AdsnError, ConfigError
from runtime.liveness.open import default_bundle
from service.rayserve import ONGOING, Arguments, Replica, UserConfig, build, make_app, replica_settings

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-long-random-key-for-tests"
ENVIRON = {"ADSN_API_KEY": KEY}


class Wrapped(Replica):
    """A replica as Ray's ingress creates it."""

    def __init__(self) -> None:
        self.app = self._asgi_app = make_app(replica_settings(Arguments(), "r1", ENVIRON))


@asynccontextmanager
async def started(replica: Wrapped) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application of a replica, and yield a client for it."""
    app = replica.app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers={"X-API-Key": KEY}) as client,
    ):
        try:
            yield client
        finally:
            # Otherwise the loading thread would wait forever for a bundle.
            app.state.choice.settle_if_open()


async def version(client: httpx.AsyncClient) -> str:
    found: str = (await client.get("/info")).json()["model"]["version"]
    return found


def other(folder: Path) -> Path:
    """Return the shipped bundle with another version."""
    shutil.copytree(default_bundle(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "9.9.9"}))
    return folder


def test_a_replica_judges_when_it_is_healthy_and_not_before() -> None:
    async def go() -> None:
        made = Wrapped()
        async with started(made) as client:
            assert (await client.get("/readyz")).status_code == 503
            await made.check_health()
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/info", headers={"X-API-Key": "another"})).status_code == 401

    asyncio.run(go())


def test_the_first_bundle_is_the_one_that_is_named(tmp_path: Path) -> None:
    async def go() -> None:
        made = Wrapped()
        async with started(made) as client:
            await made.reconfigure({"bundle": str(other(tmp_path / "b"))})
            await made.check_health()
            assert await version(client) == "9.9.9"

    asyncio.run(go())


def test_another_bundle_takes_over_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    damaged = other(tmp_path / "damaged")
    model = next(damaged.glob("*.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")

    async def go() -> None:
        made = Wrapped()
        async with started(made) as client:
            await made.check_health()
            shipped = await version(client)
            await made.reconfigure({"bundle": str(other(tmp_path / "b"))})
            assert await version(client) == "9.9.9"
            with pytest.raises(AdsnError):
                await made.reconfigure({"bundle": str(damaged)})
            assert await version(client) == "9.9.9"
            await made.check_health()
            # Switch back to the bundle in the settings.
            await made.reconfigure({})
            assert await version(client) == shipped

    asyncio.run(go())


def test_a_replica_whose_engine_cannot_start_says_so(tmp_path: Path) -> None:
    async def go() -> None:
        made = Wrapped()
        async with started(made):
            await made.reconfigure({"bundle": str(tmp_path / "nothing")})
            with pytest.raises(RuntimeError, match="engine could not start"):
                await made.check_health()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "always needs keys"),
        ({**ENVIRON, "ADSN_TLS__CERTIFICATE": "c", "ADSN_TLS__KEY": "k"}, "without TLS"),
        ({**ENVIRON, "ADSN_RIG__RGB": "v4l2:/dev/video0", "ADSN_RIG__IR": "v4l2:/dev/video2"}, "cameras belong to one"),
    ],
)
def test_what_a_replica_cannot_give_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replica_settings(Arguments(), "r1", environ)


def test_each_replica_has_an_audit_log_of_its_own() -> None:
    settings = replica_settings(Arguments(), "r1", {**ENVIRON, "ADSN_AUDIT__PATH": "/var/log/adsn/audit.jsonl"})
    assert settings.audit.path == Path("/var/log/adsn/audit-r1.jsonl")
    assert (settings.worker_count, settings.profile) == (1, "throughput")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install"):
        build({})


def test_the_shipped_configuration_names_what_is_there() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    (application,) = config["applications"]
    assert application["import_path"] == f"{build.__module__}:{build.__name__}"
    Arguments.model_validate(application["args"])
    (deployment,) = application["deployments"]
    UserConfig.model_validate(deployment["user_config"])
    assert deployment["max_ongoing_requests"] == ONGOING
    assert config["http_options"]["host"] == "127.0.0.1"
    defaults = replica_settings(Arguments(), "r1", ENVIRON)
    assert config["http_options"]["request_timeout_s"] > defaults.limits.judge_s
    assert deployment["graceful_shutdown_timeout_s"] > defaults.drain_s
