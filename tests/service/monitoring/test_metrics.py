"""Metrics, and the dashboard and alerts that use them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.capture.status import CameraStatus
from runtime.pairing.feed import FeedStatus
from service.kiosk.loop import LoopCounters
from service.kiosk.metrics import KioskCollector
from service.monitoring.health import Health
from service.monitoring.metrics import MAX_LABELS, OTHER, BoundedLabels, Metrics
from service.outputs.base import Outputs
from service.store.base import StoreStatus

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "adsn.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
NAME = re.compile(r"\b((?:adsn|process)_[a-z0-9_]+)\b")


def everything() -> Metrics:
    """Return metrics with all series of a service that has a rig, an audit log and a shared store."""
    metrics = Metrics()
    camera = CameraStatus("rgb", "running", None, 1, 30.0, 100, {"late": 3}, 2, last_frame_ns=5)
    metrics.watch_feed(lambda: FeedStatus((camera,), 3, 1.0, 9, None, {"skew": 2}), lambda: 10**9)
    metrics.engine_started({"backend": "fake"}, degraded=False, seconds=1.5)
    for name in ("adsn_queue_depth", "adsn_queue_limit", "adsn_ready", "adsn_audit_seq"):
        metrics.watch(name, "as `service.monitoring.collection` does", lambda: 0)
    metrics.watch_counter("adsn_audit_failures", "as `service.monitoring.collection` does", lambda: 0)
    metrics.watch_conditions(lambda: ())
    metrics.watch_store(lambda: StoreStatus(shared=True))
    metrics.store_called(0.0003)
    metrics.registry.register(KioskCollector(Health(), LoopCounters(), lambda: "idle", Outputs([])))
    metrics.failed("not_ready", 0.1)
    timing = {"queue": 1.0, "inference": 2.0}
    pair = {"skew_ms": 1.0, "age_ms": 40.0, "source": "camera"}
    metrics.answered({"decision": "spoof", "reasons": ["ir_spoof"], "timing_ms": timing, "pair": pair}, 0.1)
    return metrics


def names(metrics: Metrics) -> set[str]:
    """Return the names of series as used in queries. A labelled gauge without values has only a TYPE line."""
    return set(re.findall(r"^(?:# TYPE )?((?:adsn|process)_[a-z0-9_]+)", metrics.text().decode(), re.M))


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_what_the_dashboard_and_the_alerts_ask_for_exists() -> None:
    known = names(everything())
    expressions = queries() + [rule["expr"] for rule in rules()]
    assert len(expressions) > 35
    for expression in expressions:
        for name in NAME.findall(expression):
            assert name in known, f"{name} in {expression}"


def test_the_dashboard_is_one() -> None:
    found = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and panel["gridPos"]["w"] <= 24 for panel in found["panels"])
    assert all(target["datasource"]["uid"] == "${datasource}" for p in found["panels"] for target in p["targets"])


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"].split()) >= 12


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt install prometheus)")
def test_prometheus_accepts_the_alerts_and_they_fire() -> None:
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True, capture_output=True, timeout=60)
    scenarios = Path(__file__).parent / "data" / "alerts_test.yaml"
    done = subprocess.run(
        ["promtool", "test", "rules", scenarios.name], cwd=scenarios.parent, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt install prometheus)")
def test_prometheus_reads_what_we_write() -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=everything().text(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_two_sets_of_metrics_do_not_know_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.refused("wrong")
    assert b'adsn_auth_failures_total{cause="wrong"} 1.0' in one.text()
    assert b'adsn_auth_failures_total{cause="wrong"} 0.0' in other.text()


def test_labels_are_bounded_and_nothing_is_lost() -> None:
    bound = BoundedLabels()
    assert bound("ir_unlit") == "ir_unlit"
    for wrong in ("", "two words", "a" * 49, 'x"y', "line\nbreak"):
        assert bound(wrong) == OTHER
    assert len({bound(f"reason_{n}") for n in range(1000)}) == MAX_LABELS
    assert bound("ir_unlit") == "ir_unlit"
    metrics = Metrics()
    for number in range(1000):
        metrics.failed(f"code_{number}", 0.1)
    text = metrics.text().decode()
    assert text.count("adsn_problems_total{") == MAX_LABELS + 1
    assert f'adsn_problems_total{{code="other"}} {1000 - MAX_LABELS}.0' in text


def test_drops_that_become_other_are_added_up() -> None:
    metrics = Metrics()
    drops = {"a b": 2, "c d": 3, "late": 1}
    camera = CameraStatus("ir", "lost", None, 1, 0.0, 9, drops, 0, None)
    metrics.watch_feed(lambda: FeedStatus((camera,), 0, 0.0, None, None), lambda: 0)
    text = metrics.text().decode()
    assert 'adsn_frames_dropped_total{camera="ir",cause="other"} 5.0' in text
    assert 'adsn_camera_up{camera="ir"} 0.0' in text
    assert "adsn_camera_last_frame_age_seconds{" not in text


def test_no_series_comes_twice() -> None:
    lines = [line.rpartition(" ")[0] for line in everything().text().decode().splitlines() if not line.startswith("#")]
    assert len(set(lines)) == len(lines)
    types = [line for line in everything().text().decode().splitlines() if line.startswith("# TYPE")]
    assert len(set(types)) == len(types)


def test_the_page_of_metrics_names_each_of_them() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    families = {m.name + ("_total" if m.type == "counter" else "_info" if m.type == "info" else "")
                for m in everything().registry.collect() if m.name.startswith("adsn_")}  # fmt: skip
    assert families == set(re.findall(r"^\| `(adsn_[a-z0-9_]+)", page, re.M))


def test_names_labels_and_buckets_are_a_contract() -> None:
    """Check the series against `data/series.txt`: users' dashboards and alerts rely on them, so a change breaks the
    contract."""
    lines = [line for line in everything().text().decode().splitlines() if "process_" not in line]
    types = [line.removeprefix("# ") for line in lines if line.startswith("# TYPE")]
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    found = [re.sub(r'version="[^"]*"', "version", s) if s.startswith("adsn_build_info") else s for s in series]
    assert sorted(types + found) == (Path(__file__).parent / "data" / "series.txt").read_text().splitlines()


def test_a_latency_falls_into_the_bucket_that_it_is_at_most() -> None:
    collector = KioskCollector(Health(), LoopCounters(), lambda: "idle", Outputs([]))
    for ns in (5_000_000, 5_000_001, 2_000_000_000):
        collector.add_latency(ns)
    metrics = Metrics()
    metrics.registry.register(collector)
    text = metrics.text().decode()
    assert 'adsn_kiosk_latency_seconds_bucket{le="0.005"} 1.0' in text
    assert 'adsn_kiosk_latency_seconds_bucket{le="0.01"} 2.0' in text
    assert 'adsn_kiosk_latency_seconds_bucket{le="1.0"} 2.0' in text
    assert 'adsn_kiosk_latency_seconds_bucket{le="+Inf"} 3.0' in text
