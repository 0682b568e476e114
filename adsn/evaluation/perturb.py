"""Sweeps of the changes that a different rig, room or detector makes to a pair of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import Patch, jittered
from runtime.core.values import Box

NO_COMPRESSION = 100
SENSOR_NOISE = 2.0
"""Standard deviation of the noise added to a darkened image, in 8-bit steps."""
GAINS = (0.25, 0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0)
GAMMAS = (0.4, 0.56, 0.75, 1.0, 1.33, 1.8, 2.5)
DARKNESS = (0.01, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
NOISE = (0.0, 4.0, 8.0, 12.0, 16.0, 24.0)
BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
QUALITIES = (15.0, 25.0, 40.0, 60.0, 80.0, 95.0, NO_COMPRESSION)
ANGLES = (-30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 30.0)
SHIFTS = (-20.0, -15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
WINDOW = 3.6
"""Edge of the window cut from an image, as a multiple of its face box. There is room for a crop of 2.2 boxes to be
rotated or moved."""
Change = Callable[[Patch, float, np.random.Generator], Patch]
PixelChange = Callable[[NDArray[np.uint8], float, float, np.random.Generator], NDArray[np.uint8]]
"""Function that returns a changed image. Arguments: image uint8 [H, W, C], edge of its face box, value of the sweep,
random generator."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One kind of change in steps.

    ``values``: steps, including ``neutral``, which leaves a pair unchanged. ``group``: the same for sweeps that differ
    only in the modalities that they change. ``needs_pictures``: whether the change moves the box, so that it cannot be
    applied to a sample that is only a crop.
    """

    key: str
    title: str
    unit: str
    values: tuple[float, ...]
    neutral: float
    change: Change
    needs_pictures: bool = False

    def apply(self, patch: Patch, value: float, rng: np.random.Generator) -> Patch:
        """Return the changed pair."""
        return patch if value == self.neutral else self.change(patch, value, rng)

    def label(self, value: float) -> str:
        """Return a value with its unit as text."""
        if self.unit == "×":
            return f"×{value:g}"
        if self.key == "jpeg" and value == NO_COMPRESSION:
            return "none"
        sign = "+" if self.neutral == 0 and value > 0 and min(self.values) < 0 else ""
        return f"{sign}{value:g}{self.unit}"


def sweeps(modalities: Sequence[str]) -> tuple[Sweep, ...]:
    """Return the sweeps for pairs of ``modalities``. Light, noise, blur and JPEG change RGB and IR, never depth."""
    lit = tuple(m for m in modalities if m != "depth")
    every = [(lit, "")] if len(lit) == 1 else [(lit, ""), *(((m,), m) for m in lit)]
    found = []
    for chosen, name in every:
        key, alone = (f"_{name}", f", {name.upper()} alone") if name else ("", "")
        gain = partial(_pixels, chosen, _gain)
        found.append(Sweep(f"gain{key}", f"Gain{alone}", "×", GAINS, 1.0, gain))
        gamma = partial(_pixels, chosen, _gamma)
        found.append(Sweep(f"gamma{key}", f"Gamma{alone}", "", GAMMAS, 1.0, gamma))
    if "rgb" in lit:
        dark = partial(_pixels, ("rgb",), _darkness)
        found.append(Sweep("darkness", "Darkness: light on RGB", "×", DARKNESS, 1.0, dark))
    found += [
        Sweep("noise", "Noise, standard deviation", "/255", NOISE, 0.0, partial(_pixels, lit, _noise)),
        Sweep("blur", "Blur, sigma against the box", " %", BLURS, 0.0, partial(_pixels, lit, _blur)),
        Sweep(
            "jpeg",
            "JPEG quality",
            "",
            QUALITIES,
            NO_COMPRESSION,
            partial(_pixels, lit, _jpeg),
        ),
        Sweep("rotation", "Rotation in the picture", "°", ANGLES, 0.0, _rotated),
        Sweep("box_x", "Box shift, horizontal", " %", SHIFTS, 0.0, partial(_shifted, (1, 0), None), True),
        Sweep("box_y", "Box shift, vertical", " %", SHIFTS, 0.0, partial(_shifted, (0, 1), None), True),
        Sweep("box_size", "Box size", " %", SHIFTS, 0.0, _resized, True),
    ]
    second = modalities[-1]
    apart = partial(_shifted, (1, 0), second)
    found.append(Sweep("box_apart", f"Box shift, {second.upper()} alone", " %", SHIFTS, 0.0, apart, True))
    return tuple(found)


def windowed(patch: Patch) -> Patch:
    """Return the images of a pair cut to a window around each face, which is all that the sweeps need.

    The time for a sweep then does not depend on the size of the frame.
    """
    pictures, boxes = {}, {}
    for modality, picture in patch.pictures.items():
        box = patch.boxes[modality]
        reach = WINDOW / 2 * max(box.w, box.h)
        cx, cy = box.x + box.w / 2, box.y + box.h / 2
        x0, y0 = max(int(cx - reach), 0), max(int(cy - reach), 0)
        window = picture[y0 : max(int(cy + reach), y0 + 1), x0 : max(int(cx + reach), x0 + 1)]
        if not window.size:
            # The box is outside the image. The crop will raise an error.
            x0, y0, window = 0, 0, picture
        pictures[modality] = window
        boxes[modality] = Box(box.x - x0, box.y - y0, box.w, box.h)
    return Patch(pictures, boxes)


def _pixels(
    modalities: Sequence[str], change: PixelChange, patch: Patch, value: float, rng: np.random.Generator
) -> Patch:
    pictures = dict(patch.pictures)
    for modality in modalities:
        box = patch.boxes[modality]
        picture = pictures[modality]
        changed = change(np.ascontiguousarray(picture), max(box.w, box.h), value, rng)
        # OpenCV drops a last axis of length 1, so restore it.
        pictures[modality] = changed.reshape(picture.shape)
    return Patch(pictures, patch.boxes)


def _looked_up(picture: NDArray[np.uint8], curve: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    table = np.clip(np.round(curve), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _gain(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    return _looked_up(picture, np.arange(256) * value)


def _gamma(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    return _looked_up(picture, 255 * (np.arange(256) / 255) ** value)


def _noise(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(value)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


def _darkness(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    # The light in the room is reduced, but the IR illuminator stays on. Sensor noise does not decrease with the light.
    return _noise(_gain(picture, edge, value, rng), edge, SENSOR_NOISE, rng)


def _blur(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), edge * value / 100), np.uint8)


def _jpeg(picture: NDArray[np.uint8], edge: float, value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    order = picture[:, :, ::-1] if picture.shape[2] == 3 else picture
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(order), [cv2.IMWRITE_JPEG_QUALITY, int(value)])
    if not good:
        raise ValueError(f"a picture of {picture.shape} could not be compressed.")
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8).reshape(picture.shape)
    return decoded[:, :, ::-1] if picture.shape[2] == 3 else decoded


def _rotated(patch: Patch, value: float, rng: np.random.Generator) -> Patch:
    pictures = {}
    for modality, picture in patch.pictures.items():
        box = patch.boxes[modality]
        turn = cv2.getRotationMatrix2D((box.x + box.w / 2, box.y + box.h / 2), value, 1.0)
        # Interpolated depth between near and far would be a surface that does not exist.
        method = cv2.INTER_NEAREST if picture.dtype == np.float32 else cv2.INTER_LINEAR
        size = (picture.shape[1], picture.shape[0])
        source: Any = np.ascontiguousarray(picture)
        turned = cv2.warpAffine(source, turn, size, flags=method, borderMode=cv2.BORDER_REPLICATE)
        pictures[modality] = turned.reshape(picture.shape)
    return Patch(pictures, patch.boxes)


def _shifted(way: tuple[int, int], modality: str | None, patch: Patch, value: float, rng: np.random.Generator) -> Patch:
    """Move all boxes, or only the one of ``modality``, by ``value`` percent of their edges."""
    shift = np.array(way, np.float64) * value / 100
    return _moved(patch, shift, 1.0, modality)


def _resized(patch: Patch, value: float, rng: np.random.Generator) -> Patch:
    return _moved(patch, np.zeros(2), 1 + value / 100, None)


def _moved(patch: Patch, shift: NDArray[np.float64], scale: float, modality: str | None) -> Patch:
    boxes = {
        m: jittered((box.x, box.y, box.w, box.h), shift, scale) if modality in (None, m) else box
        for m, box in patch.boxes.items()
    }
    return Patch(patch.pictures, boxes)
