"""Successful responses of POST /liveness."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from skimage import data

from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from service.config.settings import LimitSettings, Settings
from tests.support.images import encode, ir_file, rgb_file, textured
from tests.support.service.answers import checked
from tests.support.service.liveness_requests import BOX, meta, pair
from tests.support.service.running_service import RunningService, running


def test_a_complete_answer(service: RunningService) -> None:
    response = service.judge(pair(session_id="door-7"))
    assert response.status_code == 200, response.text
    body = response.json()
    checked(body)
    assert body["decision"] == "live"
    assert body["reasons"] == []
    assert body["face"] == {"bbox": BOX, "confidence": None, "count": 1}
    assert body["session_id"] == "door-7"
    assert body["model"]["backend"] == "fake"
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert set(body["timing_ms"]) == {"queue", "decode", "locate", "crop", "quality", "inference", "total"}


def test_the_score_is_of_the_crop_that_training_would_cut(service: RunningService) -> None:
    ir = textured(180, (480, 640))
    body = service.judge(pair()).json()
    expected = crop(ir[:, :, None], Box(*BOX), CropRule()).mean() / 255
    assert body["score"] == pytest.approx(expected, abs=1e-6)
    assert body["modalities"]["ir"]["score"] == pytest.approx(expected, abs=1e-6)
    assert body["modalities"]["rgb"]["score"] < 0.6


@pytest.mark.parametrize(
    ("level", "decision", "reasons"),
    [
        (180, "live", []),
        (60, "spoof", ["rgb_spoof", "ir_spoof", "fused_spoof"]),
        (114, "uncertain", ["score_in_band"]),
    ],
)
def test_decisions(service: RunningService, level: int, decision: str, reasons: list[str]) -> None:
    files = {"rgb": rgb_file(70), "ir": ir_file(level), "meta": meta()}
    body = service.judge(files).json()
    assert (body["decision"], body["reasons"]) == (decision, reasons)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ir": encode(np.full((480, 640), 4, np.uint8), ".png")}, "ir_unlit"),
        ({"ir": encode(np.full((480, 640), 255, np.uint8), ".png")}, "ir_saturated"),
        ({"ir": encode(np.full((480, 640), 180, np.uint8), ".png")}, "ir_flat"),
        ({"rgb": encode(np.full((480, 640, 3), 250, np.uint8))}, "rgb_too_bright"),
        ({"meta": meta(face_box=[300, 200, 40, 40])}, "face_too_small"),
        ({"meta": meta(face_box=[0, 0, 200, 200])}, "face_cropped"),
        ({"meta": meta(rgb_timestamp_ns=10**9, ir_timestamp_ns=10**9 + 11_000_000)}, "pair_skew"),
    ],
)
def test_what_cannot_be_judged_is_uncertain(service: RunningService, change: dict[str, bytes], reason: str) -> None:
    body = service.judge({**pair(), **change}).json()
    checked(body)
    assert body["decision"] == "uncertain"
    assert reason in body["reasons"]


def test_a_small_skew_is_reported(service: RunningService) -> None:
    body = service.judge(pair(rgb_timestamp_ns=10**9, ir_timestamp_ns=10**9 + 4_000_000)).json()
    assert body["decision"] == "live"
    assert body["pair"] == {"skew_ms": 4.0, "age_ms": None, "clock": "caller", "epoch": 0, "source": "upload"}


def test_an_infrared_image_of_another_size_is_registered_by_scale(service: RunningService) -> None:
    small = cv2.resize(textured(180, (480, 640)), (320, 240), interpolation=cv2.INTER_AREA)
    body = service.judge({**pair(), "ir": encode(small, ".png")}).json()
    assert body["decision"] == "live"


def test_infrared_stored_as_colour(service: RunningService) -> None:
    body = service.judge({**pair(), "ir": encode(textured(180))}).json()
    assert body["decision"] == "live"


def test_a_photograph_of_a_person_is_found_and_judged(service: RunningService) -> None:
    astronaut = data.astronaut()  # type: ignore[no-untyped-call]  # the library is untyped
    files = {
        "rgb": encode(cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR)),
        "ir": encode(cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY), ".png"),
    }
    response = service.judge(files)
    assert response.status_code == 200, response.text
    body = response.json()
    checked(body)
    x, y, w, h = body["face"]["bbox"]
    # Position of the face in this photograph, by eye: centre near (222, 115).
    assert abs(x + w / 2 - 222) < 30
    assert abs(y + h / 2 - 115) < 30
    assert body["face"]["confidence"] is not None


def test_a_request_id_is_echoed_when_sane(service: RunningService) -> None:
    kept = service.judge(pair(), headers={"X-Request-ID": "gate-1.a:7"})
    assert kept.json()["request_id"] == kept.headers["x-request-id"] == "gate-1.a:7"
    made = service.judge(pair(), headers={"X-Request-ID": "two words"})
    assert made.headers["x-request-id"] != "two words"


def test_scores_can_be_hidden() -> None:
    with running(Settings(expose_score=False)) as hidden:
        body = hidden.judge(pair()).json()
    checked(body)
    assert body["decision"] == "live"
    assert body["score"] is body["threshold"] is None
    assert body["modalities"]["rgb"]["score"] is body["modalities"]["ir"]["score"] is None


def test_parallel_requests_get_their_own_answers() -> None:
    levels = [40 + 10 * i for i in range(16)]
    with running(Settings(limits=LimitSettings(queue=32))) as found, ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(lambda level: found.judge(pair(level)).json(), levels))
    scores = [body["score"] for body in bodies]
    assert scores == sorted(scores)
    assert len({body["request_id"] for body in bodies}) == len(levels)
    for level, body in zip(levels, bodies, strict=True):
        expected = crop(textured(level, (480, 640))[:, :, None], Box(*BOX), CropRule()).mean() / 255
        assert body["score"] == pytest.approx(expected, abs=1e-6)
