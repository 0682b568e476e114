"""A real Ray cluster of two nodes on this machine: ``make test-ray`` (in a separate environment).

One replica becomes two under load, a replica is killed under load, the bundle is replaced under load, and a damaged
bundle is refused. Everything listens on loopback, is bounded in time, and is ended afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.liveness.open import default_bundle
from service.rayserve import ONGOING, Arguments, deployment
from tests.support.images import ir_file, rgb_file

# Makes Ray use the loopback address; it has no other option for that. Ray reads it on import.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
with warnings.catch_warnings():
    # Warnings from Ray itself.
    warnings.simplefilter("ignore")
    ray = pytest.importorskip("ray", reason="pip install 'adsn[ray]'")
    from ray import serve
    from ray.cluster_utils import Cluster

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
]
KEY = "a-long-random-key-for-tests"
HEADERS = {"X-API-Key": KEY}
META = json.dumps({"face_box": [200, 120, 200, 200], "ir_face_box": [200, 120, 200, 200]})
CLIENTS = 4
UPSCALE_S = 6.0


@dataclass(slots=True)
class Load:
    """Clients that send requests without pause. Results are (time of the request, status, decision)."""

    url: str
    answers: list[tuple[float, int, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        files = {"rgb": ("rgb.jpg", rgb_file()), "ir": ("ir.png", ir_file())}
        with httpx.Client(base_url=self.url, headers=HEADERS, timeout=30) as client:
            while not self._stop.is_set() and time.monotonic() < end:
                began = time.monotonic()
                try:
                    answer = client.post("/liveness", files=files, data={"meta": META})
                    text = answer.headers.get("content-type", "")
                    decision = answer.json().get("decision", "") if "json" in text else ""
                    self.answers.append((began, answer.status_code, str(decision)))
                except httpx.HTTPError:
                    self.answers.append((began, 0, ""))

    @contextmanager
    def running(self, limit_s: float = 120) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask, args=(limit_s,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(40)

    def failed(self) -> list[tuple[float, int, str]]:
        return [answer for answer in self.answers if answer[1] != 200]

    def rate(self, since: float, until: float) -> float:
        return sum(since <= began < until and status == 200 for began, status, _ in self.answers) / (until - since)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the address of the deployed application, on a cluster of two nodes with one processor each."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Replicas inherit these variables from the nodes.
    os.environ |= {"ADSN_API_KEY": KEY, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100_000_000}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        made.add_node(**node)
        ray.init(address=made.address, _node_ip_address="127.0.0.1", log_to_driver=False)
        assert len([n for n in ray.nodes() if n["Alive"]]) == 2
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        made.shutdown()
        del os.environ["ADSN_API_KEY"]


def deploy(bundle: Path | None, replicas: int | None = None) -> None:
    """Deploy as `serve deploy` does. Without ``replicas`` their number follows the load."""
    options: dict[str, Any] = {"user_config": {"bundle": None if bundle is None else str(bundle)}}
    options["ray_actor_options"] = {"num_cpus": 0.5}
    if replicas is None:
        scaling = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 1, "upscale_delay_s": UPSCALE_S}
        options |= {"autoscaling_config": {**scaling, "metrics_interval_s": 0.5, "look_back_period_s": 2}}
    else:
        options |= {"num_replicas": replicas}
    serve.run(deployment(Arguments()).options(**options).bind(), name="adsn", route_prefix="/")


def replicas() -> list[str]:
    """Return the names of the replicas' actors."""
    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    return [name for name in names if name.startswith("SERVE_REPLICA::adsn#adsn#")]


def running() -> int:
    states = serve.status().applications["adsn"].deployments["adsn"].replica_states
    return int(states.get("RUNNING", 0))


def until(true: Any, limit_s: float = 90) -> float:
    """Wait until ``true()`` is true, and return the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + limit_s, serve.status()
        time.sleep(0.1)
    return time.monotonic() - began


def versions(url: str, times: int = 40) -> Counter[str]:
    """Return the model versions that the replicas report, from many requests over separate connections."""
    found: Counter[str] = Counter()
    for _ in range(times):
        answer = httpx.get(f"{url}/info", headers=HEADERS, timeout=30)
        found[answer.json()["model"]["version"] if answer.status_code == 200 else str(answer.status_code)] += 1
    return found


def other(folder: Path, version: str) -> Path:
    """Return the shipped bundle with another version."""
    shutil.copytree(default_bundle(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": version}))
    return folder


def test_one_replica_becomes_two_under_load(cluster: str) -> None:
    deploy(None)
    assert len(replicas()) == 1
    assert httpx.get(f"{cluster}/info", timeout=30).status_code == 401
    load = Load(cluster)
    began = time.monotonic()
    with load.running():
        until(lambda: running() == 2)
        two = time.monotonic()
        time.sleep(12)
        end = time.monotonic()
    rates = load.rate(began + 1, began + UPSCALE_S), load.rate(two + 2, end)
    print(
        f"two replicas after {two - began:.1f} s of load; {rates[0]:.0f} then {rates[1]:.0f} pairs/s, {CLIENTS} clients"
    )
    assert load.failed() == []
    # No stricter requirement, because both replicas, the proxy and the clients share the CPUs of one machine.
    assert min(rates) > 0


def test_a_replica_that_is_killed_costs_only_what_it_had(cluster: str) -> None:
    deploy(None, replicas=2)
    until(lambda: running() == 2)
    load = Load(cluster)
    with load.running():
        time.sleep(3)
        killed = replicas()[0]
        at = time.monotonic()
        ray.kill(ray.get_actor(killed, namespace="serve"))
        until(lambda: killed not in replicas())
        took = until(lambda: running() == 2 and len(replicas()) == 2)
        back = time.monotonic()
        time.sleep(5)
    failed = load.failed()
    print(
        f"{len(load.answers)} asked, {len(failed)} failed {Counter(status for _, status, _ in failed)}; "
        f"whole again {took:.1f} s later"
    )
    assert len(failed) <= ONGOING
    # Only requests that were in progress when the replica was killed may fail.
    assert all(began <= at + 1 for began, _, _ in failed)
    assert not any(decision == "live" for _, status, decision in load.answers if status != 200)
    assert load.rate(at, back) > 0


def test_a_new_bundle_takes_over_under_load_and_a_damaged_one_does_not(cluster: str, tmp_path: Path) -> None:
    deploy(None, replicas=2)
    until(lambda: running() == 2)
    load = Load(cluster)
    with load.running():
        time.sleep(1)
        deploy(other(tmp_path / "next", "9.9.9"), replicas=2)
        until(lambda: set(versions(cluster)) == {"9.9.9"})
        time.sleep(1)
    print(f"{len(load.answers)} asked during the update, {len(load.failed())} failed")
    assert load.failed() == []

    damaged = other(tmp_path / "damaged", "10.0.0")
    model = next(damaged.glob("*.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(RuntimeError):
        deploy(damaged, replicas=2)
    found = versions(cluster)
    print(f"after a damaged bundle: {dict(found)}")
    assert "10.0.0" not in found
