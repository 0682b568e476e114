"""Detectors with a user's file, tested with tiny models of known output, and detectors that do not look at the
image."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from runtime.core.errors import ConfigError, EngineUnavailable, NoFace
from runtime.core.values import Box, Image
from runtime.face.detector import HaarDetector
from runtime.face.fixed import FixedRegion, NoDetector
from runtime.face.head_pose import HEAD_MM
from runtime.face.landmarks import box_from_landmarks
from runtime.face.open import FaceSettings, open_detector
from runtime.face.pair_detection import find_face
from runtime.face.scrfd import STRIDES, ScrfdDetector, decode
from runtime.face.yunet import YuNetDetector
from runtime.geometry.box_mapping import ScaleMapper
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair
from synthetic.rendering import rotation
from tests.support.models.detectors import MARKS, scrfd, spot, yunet
from tests.support.scenes import pair, pipeline


@pytest.mark.parametrize("channels", [3, 1])
def test_yunet_finds_what_its_model_says(channels: int) -> None:
    detector = YuNetDetector(yunet())
    found = detector.detect(spot(128, 96, channels=channels))
    assert found is not None
    assert found.landmarks is not None
    expected = MARKS * 32 + [128, 96]
    assert found.landmarks == pytest.approx(expected, abs=1)
    assert found.box == box_from_landmarks(found.landmarks)
    assert found.count == 1
    assert found.confidence == pytest.approx(1, abs=0.05)
    assert detector.detect(np.zeros((240, 320, channels), np.uint8)) is None
    assert detector.detect(spot(128, 96, channels=channels), smallest=300) is None


def test_yunet_searches_large_pictures_at_its_own_size() -> None:
    found = YuNetDetector(yunet()).detect(spot(512, 384, (1024, 1280), 128))
    assert found is not None
    assert found.landmarks is not None
    assert found.landmarks == pytest.approx(MARKS * 128 + [512, 384], abs=2)


def test_scrfd_finds_what_its_model_says() -> None:
    detector = ScrfdDetector(scrfd())
    found = detector.detect(spot(128, 96, (320, 320), 16))
    assert found is not None
    assert found.landmarks == pytest.approx(MARKS * 16 + [128, 96], abs=0.01)
    assert found.count == 1
    assert found.confidence == pytest.approx(0.5 * 0.996 + 0.45, abs=0.01)
    # Larger, smaller and grey images are scaled to the size of the input, and results are scaled back.
    for scale in (2, 0.5):
        size, edge = round(320 * scale), round(16 * scale)
        image = spot(round(128 * scale), round(96 * scale), (size, size), edge, 1)
        found = detector.detect(image)
        assert found is not None
        assert found.landmarks == pytest.approx((MARKS * 16 + [128, 96]) * scale, abs=0.01)
    assert detector.detect(np.zeros((200, 300, 3), np.uint8)) is None


def test_scrfd_counts_people_and_not_anchors() -> None:
    two = np.maximum(spot(64, 96, (320, 320), 16), spot(224, 96, (320, 320), 16))
    found = ScrfdDetector(scrfd()).detect(two)
    assert found is not None
    assert found.count == 2
    near = np.maximum(spot(64, 96, (320, 320), 16), spot(80, 96, (320, 320), 16))
    found = ScrfdDetector(scrfd()).detect(near)
    assert found is not None
    assert found.count == 1


def test_a_score_that_is_no_number_is_no_face() -> None:
    outputs = [np.full(((64 // s) ** 2 * 2, k), np.nan, np.float32) for k in (1, 4, 10) for s in STRIDES]
    marks, scores = decode(outputs, (64, 64), 0.5)
    assert marks.shape == (0, 5, 2)
    assert scores.size == 0


def test_other_files_are_refused_with_what_to_do() -> None:
    with pytest.raises(EngineUnavailable, match="YuNet's ONNX file"):
        YuNetDetector(b"nothing of the kind")
    with pytest.raises(EngineUnavailable, match="refused the face detector"):
        ScrfdDetector(b"nothing of the kind")
    with pytest.raises(EngineUnavailable, match="_kps"):
        ScrfdDetector(scrfd(outputs=6))
    with pytest.raises(EngineUnavailable, match="multiples of 32"):
        ScrfdDetector(scrfd(edge=300))


def test_a_box_from_landmarks_is_the_one_that_crops_are_cut_by() -> None:
    """On the average head the result is `synthetic.raster.take.BOX_MM`: an edge of 150 mm, with the centre 17 mm below
    the eyes."""
    front = HEAD_MM[:, :2].astype(np.float32)
    box = box_from_landmarks(front)
    assert box.w == box.h == pytest.approx(150, rel=0.03)
    assert box.x + box.w / 2 == pytest.approx(0, abs=0.1)
    assert box.y + box.h / 2 == pytest.approx(17, abs=1)
    for yaw, pitch in ((30, 0), (0, 20), (-25, -10)):
        turned = (HEAD_MM @ rotation(yaw, pitch, 0).T.astype(np.float64))[:, :2]
        assert box_from_landmarks(turned.astype(np.float32)).w == pytest.approx(150, rel=0.08)


def test_a_fixed_region_is_never_a_face_that_was_seen() -> None:
    region = FixedRegion(0.375, 0.25, 0.25, 0.4)
    found = find_face(pair(0), ("rgb", "ir"), region, ScaleMapper())
    assert found.boxes["rgb"] == found.boxes["ir"] == Box(240, 120, 160, 192)
    assert {c.name: c.status for c in found.checks} == {"face.count": "unknown", "ir.face": "unknown"}
    stream = StreamPipeline(pipeline(detector=region))
    for number in range(4):
        at = 10**12 + number * 33_333_333
        seen = stream.assess(CapturedPair(number, pair(at), at), at)
        assert seen.observation.box == Box(240, 120, 160, 192)
    with pytest.raises(ValueError, match="inside"):
        FixedRegion(0.5, 0.5, 0.6, 0.2)


def test_without_a_detector_nothing_is_found() -> None:
    assert isinstance(open_detector(FaceSettings(kind="none")), NoDetector)
    with pytest.raises(NoFace):
        find_face(pair(0), ("rgb", "ir"), NoDetector(), ScaleMapper())


def test_settings_open_what_they_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(open_detector(FaceSettings(kind="haar")), HaarDetector)
    assert isinstance(open_detector(FaceSettings(kind="fixed", region=(0.2, 0.2, 0.5, 0.5))), FixedRegion)
    for kind, model, expected in (("yunet", yunet(), YuNetDetector), ("scrfd", scrfd(), ScrfdDetector)):
        path = tmp_path / f"{kind}.onnx"
        path.write_bytes(model)
        digest = hashlib.sha256(model).hexdigest()
        with caplog.at_level(logging.INFO, "adsn.face"):
            opened = open_detector(FaceSettings.model_validate({"kind": kind, "model": path, "sha256": digest}))
        assert isinstance(opened, expected)
        assert digest in caplog.text
        with pytest.raises(ConfigError, match="Do not use it"):
            open_detector(FaceSettings.model_validate({"kind": kind, "model": path, "sha256": "0" * 64}))
    with pytest.raises(ConfigError, match="cannot be read"):
        open_detector(FaceSettings(kind="yunet", model=tmp_path / "none.onnx"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "scrfd"},
        {"kind": "auto", "model": "x.onnx"},
        {"kind": "haar", "working_edge": 320},
        {"kind": "yunet", "working_edge": 20},
        {"kind": "haar", "model": "x.onnx"},
        {"kind": "fixed"},
        {"kind": "haar", "region": [0, 0, 1, 1]},
        {"kind": "fixed", "region": [0.5, 0, 0.6, 1]},
        {"kind": "other"},
        {"sha256": "abc"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FaceSettings.model_validate(wrong)


def test_a_long_strip_is_searched_as_small_as_any_other_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # Images of up to 16 megapixels of any shape are accepted. Without a limit the cascade took 1.8 s and 160 MB for a
    # strip, and kept the memory.
    searched = []

    class Spy:
        def apply(self, grey: Image) -> Image:
            searched.append(grey.shape)
            return grey

    monkeypatch.setattr(cv2, "createCLAHE", lambda *settings: Spy())
    detector = HaarDetector()
    for height, width in ((33000, 480), (480, 33000), (65000, 240), (480, 640), (640, 480), (1920, 1080)):
        detector.detect(np.zeros((height, width, 1), np.uint8))
    assert searched == [(960, 14), (7, 480), (960, 4), (360, 480), (640, 480), (853, 480)]
