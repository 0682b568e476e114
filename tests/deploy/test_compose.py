"""compose.yaml and the files that it mounts: their references to each other, and the proxy's check of its settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
PROXY = ROOT / "deploy" / "compose" / "haproxy.cfg"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def test_the_replicas_share_the_store_that_is_there() -> None:
    services = compose()["services"]
    assert services["adsn"]["deploy"]["replicas"] == 2
    environment = {name: str(value) for name, value in services["adsn"]["environment"].items()}
    settings = read_settings(environ={**environment, "ADSN_API_KEY": "k" * 32})
    assert settings.store.address is not None
    assert settings.store.address.host in services
    # Only these containers share the network with unencrypted traffic.
    (network,) = services[settings.store.address.host]["networks"]
    assert network in services["adsn"]["networks"]
    assert compose()["networks"][network] == {"internal": True}
    assert {name for name, one in services.items() if network in one.get("networks", [])} == {"adsn", "store"}
    command = " ".join(services["store"]["command"])
    # Otherwise nonces would be blocked after a restart, and lost when the store is full.
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_every_container_is_confined_and_open_to_loopback_only() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service.get("read_only") is True, name
        assert service.get("cap_drop") == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose()["volumes"]
    assert "ports" not in services["adsn"]
    assert "ports" not in services["store"]


def test_the_proxy_sends_to_the_replicas_and_repeats_no_request() -> None:
    text = PROXY.read_text()
    (servers,) = re.findall(r"server-template \w+ (\d+) ([\w.]+):(\d+)", text)
    assert int(servers[0]) >= compose()["services"]["adsn"]["deploy"]["replicas"]
    assert servers[1] == "adsn"
    assert servers[2] == str(read_settings(environ={}).port)
    assert re.findall(r"retry-on (.*)", text) == ["conn-failure"]
    assert "GET /readyz" in text
    scraped = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped[0]["dns_sd_configs"][0]["names"] == ["adsn"]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
def test_haproxy_takes_its_settings() -> None:
    done = subprocess.run(["haproxy", "-c", "-f", PROXY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
