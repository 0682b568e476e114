"""Crop and resize. Training and serving get the same bytes."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import adsn.datasets.pairs
from adsn.datasets.pairs import SyntheticPairs, SyntheticSpec
from runtime.core.errors import InvalidFaceBox
from runtime.core.operating_point import OperatingPoint
from runtime.core.values import Box, Pair
from runtime.engines.base import Batch, Scores
from runtime.imaging.crop import PADDED_EDGE, CropRule, coverage, crop, crop_mean, crop_window
from runtime.liveness.pair_pipeline import LivenessPipeline
from synthetic import Presentation, Rendered, render_patch
from tests.support.fakes import FakeEngine

RULE = CropRule(size=64, margin=0.25)


def ramp(height: int, width: int, channels: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.arange(height * width * channels, dtype=np.uint32).reshape(height, width, channels).astype(np.uint8)


def test_a_crop_of_the_right_size_is_the_image_itself() -> None:
    image = ramp(200, 200, 3)
    # 64 = round(42.67 × 1.5), so there is no resizing and the bytes are those of the image.
    box = Box(60, 70, 64 / 1.5, 64 / 1.5)
    left, top, side = crop_window(box, RULE)
    assert side == 64
    found = crop(image, box, RULE)
    assert found.flags.c_contiguous
    assert np.array_equal(found, image[top : top + 64, left : left + 64])


def test_outside_the_image_is_black() -> None:
    image = np.full((100, 100, 1), 200, np.uint8)
    found = crop(image, Box(80, 80, 40, 40), RULE)
    assert found[0, 0, 0] == 200
    assert found[-1, -1, 0] == 0
    assert coverage(image.shape, Box(80, 80, 40, 40), RULE) == pytest.approx((30 / 60) ** 2)


def test_depth_never_mixes_near_and_far() -> None:
    depth = np.where(np.arange(300)[None, :, None] % 2 == 0, 400.0, 900.0).repeat(300, axis=0).astype(np.float32)
    depth[100:120] = 0
    found = crop(depth, Box(50, 50, 150, 150), RULE)
    assert found.dtype == np.float32
    assert set(np.unique(found)) <= {0.0, 400.0, 900.0}


def test_a_crop_beside_the_image_is_refused() -> None:
    with pytest.raises(InvalidFaceBox, match="outside"):
        crop(ramp(50, 50), Box(500, 500, 40, 40), RULE)


@given(
    x=st.floats(-50, 250),
    y=st.floats(-50, 250),
    w=st.floats(1, 400),
    h=st.floats(1, 400),
    channels=st.sampled_from([1, 3]),
)
def test_any_box_gives_a_crop_of_the_right_shape_or_a_clear_error(
    x: float, y: float, w: float, h: float, channels: int
) -> None:
    try:
        found = crop(ramp(200, 220, channels), Box(x, y, w, h), RULE)
    except InvalidFaceBox:
        assert coverage((200, 220), Box(x, y, w, h), RULE) == 0
    else:
        assert found.shape == (64, 64, channels)
        assert found.dtype == np.uint8


class Recorder(FakeEngine):
    """Engine that records its input."""

    batch: Batch

    def infer(self, batch: Batch) -> Scores:
        self.batch = {name: array.copy() for name, array in batch.items()}
        return super().infer(batch)


@pytest.mark.parametrize("species", ["bona_fide", "print_toner"])
def test_training_and_serving_see_identical_bytes(species: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass the same image and box through the training set and through the serving pipeline."""
    spec = SyntheticSpec(
        "same", "A", (3, 5), 2, 2, seed=5, species=("print_toner",), box_jitter=0.03, misregistration=0.02
    )
    pairs = SyntheticPairs(spec)
    index = 0 if species == "bona_fide" else 2
    used: dict[str, Box] = {}
    pictures: list[Rendered] = []
    real_crop, real_render = crop, render_patch

    def watching_crop(image, box, rule):  # type: ignore[no-untyped-def]  # stands in for a generic function
        used[f"{image.dtype}{image.shape[2]}"] = box
        return real_crop(image, box, rule)

    def watching_render(presentation: Presentation, *, shape: str) -> Rendered:
        pictures.append(real_render(presentation, shape=shape))
        return pictures[-1]

    monkeypatch.setattr(adsn.datasets.pairs, "crop", watching_crop)
    monkeypatch.setattr(adsn.datasets.pairs, "render_patch", watching_render)
    trained_on = pairs[index].crops

    engine = Recorder()
    point = OperatingPoint("default", 0.5, 0.4, "", "")
    pipeline = LivenessPipeline(engine, detector=None, rule=spec.rule, point=point)  # type: ignore[arg-type]  # boxes are given
    rgb_box, ir_box = used["uint83"], used["uint81"]
    monkeypatch.setattr(Box, "require_inside", lambda *args: None)
    pipeline.assess(Pair(pictures[0].rgb, pictures[0].ir), {"rgb": rgb_box, "ir": ir_box})
    assert np.array_equal(engine.batch["rgb"][0], trained_on["rgb"])
    assert np.array_equal(engine.batch["ir"][0], trained_on["ir"])


def padded_crop(image: NDArray[Any], box: Box, rule: CropRule) -> NDArray[Any]:
    """Return the crop by its definition: the whole square is zero-padded and then resized."""
    left, top, side = crop_window(box, rule)
    reach = max(side, *image.shape[:2])
    margin = ((reach, reach), (reach, reach), (0, 0))
    square = np.pad(image, margin)[top + reach : top + reach + side, left + reach : left + reach + side]
    method = cv2.INTER_AREA if side > rule.size else cv2.INTER_LINEAR
    if image.dtype == np.float32:
        method = cv2.INTER_NEAREST
    resized = cv2.resize(np.ascontiguousarray(square), (rule.size, rule.size), interpolation=method)
    return np.asarray(resized).reshape(rule.size, rule.size, image.shape[2])


@given(x=st.floats(-100, 700), y=st.floats(-100, 500), w=st.floats(1, 900), h=st.floats(1, 900), kind=st.integers(0, 2))
def test_a_crop_of_ordinary_size_is_that_of_the_padded_square(
    x: float, y: float, w: float, h: float, kind: int
) -> None:
    image: NDArray[Any] = ramp(480, 640, (3, 1, 1)[kind])
    if kind == 2:
        image = image.astype(np.float32)
    rule = CropRule()
    box = Box(x, y, w, h)
    assume(coverage(image.shape, box, rule) > 0)
    assert np.array_equal(crop(image, box, rule), padded_crop(image, box, rule))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "box",
    [Box(1, 50_000, 2, 50_000), Box(0, 0, 1e8, 1e8), Box(-9e8, -9e8, 9.9e8, 9.9e8), Box(3, 0, 1, 199_999)],
)
def test_no_box_decides_how_much_memory_its_crop_takes(box: Box, dtype: type[np.generic]) -> None:
    image = np.full((200_000, 4, 1), 200, dtype)
    tracemalloc.start()
    try:
        found = crop(image, box, CropRule())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (112, 112, 1)
    assert found.max() == 200
    assert peak < 1 << 20


@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_too_large_to_be_padded_shows_the_same(channels: int) -> None:
    smooth = cv2.resize(np.random.default_rng(5).integers(0, 255, (6, 8), dtype=np.uint8), (4000, 3000))
    image = np.repeat(np.asarray(smooth, np.uint8)[:, :, None], channels, axis=2)
    box = Box(1500, 1200, 2400, 1790)
    assert crop_window(box, CropRule())[2] > PADDED_EDGE
    exact, found = padded_crop(image, box, CropRule()), crop(image, box, CropRule())
    # Edges are off by at most half a pixel of the crop, also at the edge of the image.
    assert np.mean(np.abs(exact.astype(int) - found.astype(int))) < 1.0
    inside = Box(800, 600, 1500, 1500)
    assert crop_window(inside, CropRule())[2] > PADDED_EDGE
    assert np.array_equal(padded_crop(image, inside, CropRule()), crop(image, inside, CropRule()))


@pytest.mark.parametrize("edge", [20, 60, 110, 300])
@pytest.mark.parametrize("place", [(60, 50), (-8, -5), (200, 130)])
def test_the_mean_of_a_crop_needs_no_crop(edge: float, place: tuple[float, float]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 260, 3), np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 5), np.uint8)
    box = Box(*place, edge, edge)
    for image in (smooth, np.ascontiguousarray(smooth[:, :, :1])):
        assert crop_mean(image, box, RULE) == pytest.approx(float(crop(image, box, RULE).mean()), abs=0.7)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300])
def test_a_box_without_pixels_is_refused(number: float) -> None:
    for place in range(4):
        values = [10.0, 10.0, 20.0, 20.0]
        values[place] = number
        with pytest.raises(InvalidFaceBox, match="finite"):
            crop(ramp(50, 50), Box(*values), RULE)
        with pytest.raises(InvalidFaceBox, match="finite"):
            crop_mean(ramp(50, 50), Box(*values), RULE)
