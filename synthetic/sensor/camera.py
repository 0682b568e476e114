"""Two families of cameras with disjoint parameters, and a model of their sensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array, float32
from synthetic.surface import power, spread

FAMILIES = ("A", "B")
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Family:
    """Parameter ranges of a family of cameras. Noise in 8-bit steps, blur in pixels, times in factors."""

    focal_px: Range
    rgb_noise: Range
    rgb_gamma: Range
    white_balance: Range
    rgb_blur: Range
    rgb_vignette: Range
    rgb_target: Range
    ir_noise: Range
    ir_target: Range
    ir_blur: Range
    ir_vignette: Range
    ir_gamma: Range
    baseline_mm: Range


FAMILY = {
    "A": Family(
        focal_px=(540, 640),
        rgb_noise=(0.8, 3.0),
        rgb_gamma=(2.0, 2.4),
        white_balance=(0.0, 0.06),
        rgb_blur=(0.3, 0.7),
        rgb_vignette=(0.05, 0.20),
        rgb_target=(0.16, 0.26),
        ir_noise=(0.8, 2.5),
        ir_target=(0.30, 0.48),
        ir_blur=(0.3, 0.7),
        ir_vignette=(0.10, 0.25),
        ir_gamma=(1.0, 1.2),
        baseline_mm=(0, 3),
    ),
    "B": Family(
        focal_px=(700, 820),
        rgb_noise=(3.4, 6.0),
        rgb_gamma=(1.6, 1.9),
        white_balance=(0.08, 0.15),
        rgb_blur=(0.8, 1.2),
        rgb_vignette=(0.25, 0.40),
        rgb_target=(0.28, 0.36),
        ir_noise=(3.0, 5.5),
        ir_target=(0.18, 0.27),
        ir_blur=(0.8, 1.2),
        ir_vignette=(0.30, 0.45),
        ir_gamma=(1.3, 1.6),
        baseline_mm=(4, 7),
    ),
}


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera's sensor and lens. ``noise``: read noise in 8-bit steps after the tone curve at mid grey. ``blur``: in
    pixels. ``target``: mean of a face that automatic exposure aims for."""

    noise: float
    gamma: float
    blur: float
    vignette: float
    target: float

    def gain_for(self, face: Array, limit: float, exposure: float = 1.0) -> float:
        """Return the gain that brings a face to its target, at most ``limit``. ``exposure``: a factor on the target."""
        return min(self.target * exposure / max(float(face.mean()), 1e-6), limit)


@dataclass(frozen=True, slots=True)
class CameraRig:
    """A rig: an RGB and an IR camera side by side, drawn from a family."""

    focal_px: float
    balance: tuple[float, float, float]
    rgb: Sensor
    ir: Sensor
    baseline_mm: float


def draw_camera(family: str, rng: np.random.Generator) -> CameraRig:
    """Draw a camera of ``family``."""
    f = FAMILY[family]

    def drawn(limits: Range) -> float:
        return float(rng.uniform(*limits))

    red, blue = (float(rng.uniform(*f.white_balance) * rng.choice((-1, 1))) for _ in range(2))
    # Keep the order of the draws: changing it changes the result of every seed.
    return CameraRig(
        focal_px=drawn(f.focal_px),
        balance=(1 + red, 1.0, 1 + blue),
        rgb=Sensor(
            noise=drawn(f.rgb_noise),
            gamma=drawn(f.rgb_gamma),
            blur=drawn(f.rgb_blur),
            vignette=drawn(f.rgb_vignette),
            target=drawn(f.rgb_target),
        ),
        ir=Sensor(
            noise=drawn(f.ir_noise),
            target=drawn(f.ir_target),
            blur=drawn(f.ir_blur),
            vignette=drawn(f.ir_vignette),
            gamma=drawn(f.ir_gamma),
        ),
        baseline_mm=drawn(f.baseline_mm),
    )


def expose(
    light: Array, sensor: Sensor, *, gain: float, soft: float, vignette: Array, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Convert linear light [H, W, C] to an 8-bit image [H, W, C]: lens blur, vignetting, gain, shot and read noise,
    tone curve.

    ``soft``: pixels of ``light`` per sensor pixel, at most 1: fewer average out noise and blur. ``vignette``: fall-off
    [H, W]. Noise grows with the square root of the gain.
    """
    noise, blur, gamma = sensor.noise * soft * math.sqrt(max(gain, 1)), sensor.blur * soft, sensor.gamma
    if blur > 0.25:
        light = float32(cv2.GaussianBlur(light, (0, 0), blur)).reshape(light.shape)
    fall_off = vignette * np.float32(gain)
    signal = light * (spread(fall_off, light.shape[2]).reshape(light.shape))
    variance = np.clip(signal, 0, 1)
    variance *= np.float32((noise / 255) ** 2)
    variance += np.float32((noise / 400) ** 2)
    grain = normal(rng, signal.shape)
    grain *= np.sqrt(variance, out=variance)
    signal += grain
    np.clip(signal, 0, 1, out=signal)
    if gamma != 1:
        signal = power(signal, 1 / gamma)
    signal *= 255
    signal += np.float32(0.5)
    return signal.astype(np.uint8)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return standard normal noise, float32, from OpenCV's generator seeded by ``rng``: three times as fast as NumPy's.

    OpenCV keeps one generator per thread, so a draw depends only on ``rng``.
    """
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    out = np.empty(shape, np.float32)
    cv2.randn(out, 0, 1)  # type: ignore[call-overload]
    return out
