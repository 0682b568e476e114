"""Lit minus dark: what comes out, and everything that makes it refuse."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from runtime.core.values import Image
from runtime.liveness.ambient import difference, motion

HEIGHT, WIDTH = 240, 320


def scene(shift: tuple[float, float] = (0, 0), seed: int = 1) -> np.ndarray:
    """Reflectances float32 [H, W] with edges of all sizes, moved by ``shift`` pixels."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT + 80, WIDTH + 80), 0.4, np.float32)
    for _ in range(60):
        x, y = int(rng.integers(0, WIDTH + 80)), int(rng.integers(0, HEIGHT + 80))
        cv2.circle(picture, (x, y), int(rng.integers(4, 40)), float(rng.uniform(0.1, 1)), -1)
    matrix = np.array([[1, 0, shift[0] - 40], [0, 1, shift[1] - 40]], np.float32)
    return cv2.warpAffine(cv2.GaussianBlur(picture, (0, 0), 1), matrix, (WIDTH, HEIGHT))


def shots(
    *, flash: float = 90, ambient: float = 60, shift: tuple[float, float] = (0, 0), noise: float = 2
) -> tuple[Image, Image]:
    """A lit picture, and a dark one of the scene moved by ``shift``. Ambient light comes from the side."""
    rng = np.random.default_rng(2)
    side = np.linspace(0.4, 1.6, WIDTH, dtype=np.float32)[None, :]
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    beam = 1.3 * np.exp(-(x**2 + y**2) / 2)
    made = []
    for light, moved in ((ambient * side + flash * beam, (0.0, 0.0)), (ambient * side + 0 * beam, shift)):
        raw = scene(moved) * light + rng.normal(0, noise, (HEIGHT, WIDTH))
        made.append(np.clip(raw, 0, 255).astype(np.uint8)[..., None])
    return made[0], made[1]


def test_what_the_illuminator_alone_shows() -> None:
    lit, dark = shots()
    alone, _ = shots(ambient=0)
    found = difference(lit, dark)
    assert found.refused is None
    assert found.image is not None
    assert found.image.shape == lit.shape
    assert found.image.dtype == np.uint8
    assert float(np.abs(found.image.astype(int) - alone.astype(int)).mean()) < 3
    assert found.contrast == pytest.approx(float(lit.mean()) - float(dark.mean()), abs=0.5)
    assert found.ambient == pytest.approx(float(dark.mean()), abs=0.5)
    assert found.motion_px is not None
    assert found.motion_px < 0.5


@pytest.mark.parametrize(
    ("light", "refused"),
    [
        ({"flash": 8}, "no_gap"),
        ({"ambient": 3}, "no_ambient"),
        ({"flash": 900}, "clipped"),
        ({"flash": 20, "ambient": 100}, "too_dark"),
        ({"shift": (4, 3)}, "moved"),
    ],
)
def test_refusals(light: dict[str, float], refused: str) -> None:
    lit, dark = shots(**light)  # type: ignore[arg-type]
    found = difference(lit, dark)
    assert found.refused == refused
    assert found.image is None


def test_a_dark_picture_that_shows_nothing_is_unclear() -> None:
    lit, _ = shots()
    noise = np.random.default_rng(1).integers(20, 40, lit.shape).astype(np.uint8)
    assert difference(lit, noise).refused == "unclear"


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -5), (6, 4), (-12, 2)])
def test_motion_is_measured_across_the_change_of_light(shift: tuple[int, int]) -> None:
    lit, dark = shots(shift=shift)
    found = motion(lit, dark)
    assert found == pytest.approx(float(np.hypot(*shift)), abs=0.6)


def test_pictures_that_do_not_belong_together() -> None:
    lit, dark = shots()
    floats: Any = dark.astype(np.float32)
    for bad in (dark[:100], dark[..., 0], floats):
        with pytest.raises(ValueError, match="one size"):
            difference(lit, bad)
