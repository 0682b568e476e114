"""Two families of cameras with disjoint parameters, and what a camera makes of the light that reaches it."""

from __future__ import annotations

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
    """Ranges that a camera of this family is drawn from. Noise in 8-bit steps, blur in pixels, times in factors."""

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
    wavelength_nm: float
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
        wavelength_nm=850,
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
        wavelength_nm=940,
        baseline_mm=(4, 7),
    ),
}


@dataclass(frozen=True, slots=True)
class CameraRig:
    """One rig: a colour and an infrared camera beside each other, drawn from a family."""

    focal_px: float
    rgb_noise: float
    rgb_gamma: float
    balance: tuple[float, float, float]
    rgb_blur: float
    rgb_vignette: float
    rgb_target: float
    ir_noise: float
    ir_target: float
    ir_blur: float
    ir_vignette: float
    ir_gamma: float
    baseline_mm: float


def draw_camera(family: str, rng: np.random.Generator) -> CameraRig:
    """A camera of ``family``."""
    f = FAMILY[family]
    cast = f.white_balance
    red, blue = (float(rng.uniform(*cast) * rng.choice((-1, 1))) for _ in range(2))
    return CameraRig(
        focal_px=float(rng.uniform(*f.focal_px)),
        rgb_noise=float(rng.uniform(*f.rgb_noise)),
        rgb_gamma=float(rng.uniform(*f.rgb_gamma)),
        balance=(1 + red, 1.0, 1 + blue),
        rgb_blur=float(rng.uniform(*f.rgb_blur)),
        rgb_vignette=float(rng.uniform(*f.rgb_vignette)),
        rgb_target=float(rng.uniform(*f.rgb_target)),
        ir_noise=float(rng.uniform(*f.ir_noise)),
        ir_target=float(rng.uniform(*f.ir_target)),
        ir_blur=float(rng.uniform(*f.ir_blur)),
        ir_vignette=float(rng.uniform(*f.ir_vignette)),
        ir_gamma=float(rng.uniform(*f.ir_gamma)),
        baseline_mm=float(rng.uniform(*f.baseline_mm)),
    )


def expose(
    light: Array,
    *,
    gain: float,
    gamma: float,
    noise: float,
    blur: float,
    vignette: Array,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Linear light [H, W, C] → 8-bit picture [H, W, C]: lens blur, vignetting, gain, shot and read noise, tone curve.

    ``noise``: read noise in 8-bit steps after the tone curve at mid grey; it grows with the square root of the gain.
    """
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
    """Standard normal noise float32, by OpenCV's generator seeded from ``rng``: three times as fast as NumPy's.

    OpenCV keeps one generator per thread, so a draw depends on nothing but ``rng``.
    """
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    out = np.empty(shape, np.float32)
    cv2.randn(out, 0, 1)  # type: ignore[call-overload]
    return out
