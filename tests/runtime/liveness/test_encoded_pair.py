"""Decisions on large JPEG files are the same as on their full images, whatever the size at which they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.core.errors import InvalidFaceBox, NoFace, TruncatedImage
from runtime.core.parallel import run_sequentially
from runtime.core.values import Box, Image, Modality, Pair
from runtime.imaging.decode import pixels_of
from runtime.imaging.encoded_image import EncodedImage
from runtime.liveness.encoded_pair import EncodedPair, assess_encoded
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import LivenessPipeline
from synthetic import Presentation, render_frame
from tests.support.images import encode

WIDTH, HEIGHT = 3840, 2160
Frames = dict[Modality, Image]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[LivenessPipeline]:
    found = open_pipeline(default_bundle(), profile="throughput").pipeline
    yield found
    found.engine.close()


@cache
def frame(subject: int, species: str, width: int = 640, height: int = 480) -> Frames:
    taken = render_frame(Presentation(seed=3, subject=subject, species=species), size=(width, height))
    return {"rgb": taken.rgb, "ir": taken.ir}


def large(subject: int, species: str, scale: float, width: int = WIDTH, height: int = HEIGHT) -> Frames:
    """Return a large frame with a frame of 640×480 pixels, enlarged by ``scale``, in its middle."""

    def placed(image: Image) -> Image:
        w, h = round(640 * scale) // 2 * 2, round(480 * scale) // 2 * 2
        out = cv2.resize(image, (w, h), interpolation=cv2.INTER_CUBIC)
        left, top = max(w - width, 0) // 2, max(h - height, 0) // 2
        out = out[top : top + height, left : left + width]
        beside, above = (width - out.shape[1]) // 2, (height - out.shape[0]) // 2
        out = cv2.copyMakeBorder(out, above, above, beside, beside, cv2.BORDER_REPLICATE)
        return np.asarray(out, np.uint8).reshape(height, width, -1)

    return {m: placed(image) for m, image in frame(subject, species).items()}


def files_of(frames: Frames, suffix: str = ".jpg") -> EncodedPair:
    return EncodedPair(
        {
            m: EncodedImage.read(encode(np.ascontiguousarray(image[:, :, ::-1]), suffix), m, max_pixels=1 << 25)
            for m, image in frames.items()
        }
    )


def in_full(pipeline: LivenessPipeline, files: EncodedPair, boxes: dict[Modality, Box] | None = None) -> Any:
    return pipeline.assess(files.decode({}, run_sequentially), boxes)


@pytest.mark.parametrize(
    ("frames", "reductions"),
    [
        pytest.param(lambda: frame(9708, "bona_fide", WIDTH, HEIGHT), {4}, id="rendered at full size"),
        pytest.param(lambda: large(9708, "bona_fide", 6), {4}, id="near"),
        pytest.param(lambda: large(9711, "mask_paper", 6), {2, 4}, id="near mask"),
        pytest.param(lambda: large(9708, "bona_fide", 4), {2}, id="crops from half the size"),
        pytest.param(lambda: large(9708, "bona_fide", 2.6), {1}, id="crops from the full images"),
        pytest.param(lambda: large(9708, "bona_fide", 1.2), {1}, id="searched in the full images"),
        pytest.param(lambda: large(9708, "replay_screen", 6), {1}, id="screen that infrared does not show"),
    ],
)
def test_decision_and_boxes_are_those_of_the_full_images(
    pipeline: LivenessPipeline, frames: Any, reductions: set[int]
) -> None:
    files = files_of(frames())
    full = in_full(pipeline, files)
    found, pair = assess_encoded(pipeline, files)
    assert {pair.reduction("rgb"), pair.reduction("ir")} == reductions
    assert (found.decision, found.reasons, found.detected_in) == (full.decision, full.reasons, full.detected_in)
    assert found.score == pytest.approx(full.score, abs=0.05)
    for modality, box in full.boxes.items():
        other, edge = found.boxes[modality], box.w
        assert [other.x, other.y, other.w, other.h] == pytest.approx([box.x, box.y, box.w, box.h], abs=0.02 * edge)
    values = {check.name: check.value for check in full.checks}
    near = {"face.size": 0.02 * full.face.box.w, "rgb.blur": 0.02, "face.coverage": 0.02, "ir.copied": 0.05}
    for check in found.checks:
        if check.name in near:
            assert check.value == pytest.approx(values[check.name], abs=near[check.name])


def test_a_given_box_comes_back_as_it_is_and_sets_the_size(pipeline: LivenessPipeline) -> None:
    files = files_of(large(9708, "bona_fide", 3, 1920, 1080))
    full = in_full(pipeline, files)
    boxes: dict[Modality, Box] = {"rgb": full.boxes["rgb"], "ir": Box(700, 300, 150, 151)}
    found, pair = assess_encoded(pipeline, files, boxes)
    assert found.boxes == boxes
    assert found.face.box == boxes["rgb"]
    assert pair.reductions == {"rgb": 2}
    assert next(c for c in found.checks if c.name == "face.size").value == 150
    with pytest.raises(InvalidFaceBox, match="1920×1080"):
        assess_encoded(pipeline, files, {"rgb": Box(1500, 300, 500, 500)})


@pytest.mark.parametrize(("width", "searched"), [(1920, {1920}), (3840, {960, 3840})])
def test_a_picture_without_a_face_is_searched_at_full_size_too(
    pipeline: LivenessPipeline, width: int, searched: set[int]
) -> None:
    shape = width * 9 // 16, width
    plain: Frames = {"rgb": np.full((*shape, 3), 90, np.uint8), "ir": np.full((*shape, 1), 90, np.uint8)}
    widths = []

    class Watched:
        def detect(self, image: Image, smallest: float = 0.0) -> None:
            widths.append(image.shape[1])

    with pytest.raises(NoFace):
        assess_encoded(replace(pipeline, detector=Watched()), files_of(plain))
    assert set(widths) == searched


@pytest.mark.parametrize(
    ("suffix", "shape"), [(".png", (2160, 3840)), (".jpg", (2161, 3841)), (".jpg", (480, 640))], ids=str
)
def test_other_files_are_decoded_whole(suffix: str, shape: tuple[int, int]) -> None:
    image = EncodedImage.read(encode(np.zeros(shape, np.uint8), suffix), "ir", max_pixels=1 << 25)
    assert image.reduction(max(shape) / 960) == 1


def test_only_the_image_that_needs_it_is_decoded_again() -> None:
    files = files_of(large(9708, "bona_fide", 4))
    reduced = files.decode({"rgb": 2, "ir": 2}, run_sequentially)
    again = files.decode({"ir": 2}, run_sequentially, {"ir": reduced.image("ir")})
    assert again.ir is reduced.ir
    assert again.image("rgb").shape == (HEIGHT, WIDTH, 3)
    assert (again.reduction("rgb"), again.reduction("ir")) == (1, 2)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_damaged_file_is_refused_at_every_size(reduction: int) -> None:
    data = encode(large(9708, "bona_fide", 4)["rgb"])
    whole = EncodedImage.read(data, "rgb", max_pixels=1 << 25, name="door.jpg")
    assert whole.decode(reduction).shape == (HEIGHT // reduction, WIDTH // reduction, 3)
    for part in (0.3, 0.9):
        cut = data[: int(len(data) * part)] + b"\xff\xd9"
        with pytest.raises(TruncatedImage, match=r"^door\.jpg: "):
            EncodedImage.read(cut, "rgb", max_pixels=1 << 25, name="door.jpg").decode(reduction)


def test_a_reduced_image_is_the_mean_of_the_full_one() -> None:
    data = encode(large(9708, "bona_fide", 4)["rgb"])
    info = EncodedImage.read(data, "rgb", max_pixels=1 << 25).info
    full = pixels_of(data, "rgb", info)
    for reduction in (2, 4, 8):
        mean = cv2.resize(full, (WIDTH // reduction, HEIGHT // reduction), interpolation=cv2.INTER_AREA)
        assert np.abs(pixels_of(data, "rgb", info, reduction).astype(int) - mean).mean() < 2
    assert Pair(rgb=full).reduction("rgb") == 1
