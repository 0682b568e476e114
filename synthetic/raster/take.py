"""Images of a scene as delivered by the cameras, and the simulation's ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthetic.physics import stereo_depth_noise
from synthetic.presentation import Presentation
from synthetic.raster.surroundings import scenery
from synthetic.rendering import PIVOT_MM, View, vignette_map
from synthetic.scene import Scene, compose
from synthetic.sensor.camera import expose, normal

BOX_MM = (0.0, -14.0, 150.0)
"""Centre and edge of the face box on a life-size head, as given by OpenCV's frontal cascade (alt2)."""
PATCH_EXTENT = 2.8
"""Ratio of patch edge to face box: crops of 2.2 times the box, with room for detector error."""
PATCH_SIZES, FRAME_SIZES = (64, 512), (160, 4096)
DEPTH_LIMIT_MM = 4000.0
LONGEST_BASELINE_MM = 60.0


@dataclass(frozen=True, slots=True)
class Rendered:
    """Images delivered by the rig, and the simulation's ground truth.

    ``rgb`` uint8 [H, W, 3], RGB order. ``ir`` uint8 [H, W, 1]. ``depth`` float32 [H, W, 1], millimetres, 0 = missing.
    ``region`` uint8 [H, W, 1]: 255 where a partial attack covers a living face, in ``rgb`` pixels; zero elsewhere.
    ``box`` x, y, width, height of the face in ``rgb`` pixels; ``ir_box`` in ``ir`` and ``depth`` pixels. ``shape``: the
    heads' source. ``conditions``: measured facts of the scene.
    """

    rgb: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    depth: NDArray[np.float32]
    region: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    ir_box: tuple[float, float, float, float]
    presentation: Presentation
    shape: str
    conditions: Mapping[str, float]

    @property
    def label(self) -> int:
        """Label: 1 for bona fide, 0 for an attack."""
        return int(self.presentation.bona_fide)


@dataclass(slots=True)
class SensorImages:
    """RGB, IR and depth images of a view, the attacked region in RGB pixels, and the IR camera's shift in pixels."""

    rgb: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    depth: NDArray[np.float32]
    region: NDArray[np.uint8]
    shift: int


def face_box(scene: Scene, view: View) -> tuple[float, float, float, float]:
    """Return the face's box in a view: x, y, width, height."""
    cx, cy, edge = (v * scene.shown.scale for v in BOX_MM)
    pivot = 0.0 if scene.held else PIVOT_MM
    x, y, _ = scene.turn @ np.array([cx, cy, pivot], np.float32)
    side = edge * view.scale
    return float(view.cx + x * view.scale - side / 2), float(view.cy + y * view.scale - side / 2), side, side


def take(scene: Scene, view: View, whole: tuple[float, float, float], sampling: float) -> SensorImages:
    """Take the images of a view.

    The IR camera is beside the RGB camera and sees the scene shifted a little to the left: one wider view serves both.
    ``whole``: see `vignette_map`. ``sampling``: view pixels per camera pixel; a coarser view averages noise away.
    """
    camera, rng = scene.camera, scene.sensor
    shift = round(camera.baseline_mm * view.scale)
    wide = View(view.width + shift, view.height, view.scale, view.cx, view.cy)
    layer, attacked = scenery(scene, wide)
    region = np.ascontiguousarray(attacked[:, : view.width, None])
    colour = np.ascontiguousarray(layer.light[:, : view.width, :3]) * np.array(camera.balance, np.float32)
    infrared = np.ascontiguousarray(layer.light[:, shift:, 3:])
    x, y, w, h = face_box(scene, view)
    middle = slice(max(int(y), 0), max(int(y + h), 1)), slice(max(int(x), 0), max(int(x + w), 1))
    # Automatic exposure meters the face; in the dark its gain saturates and the image stays black.
    gains = camera.rgb.gain_for(colour[middle], 5.0), camera.ir.gain_for(infrared[middle], 6.0)
    if not scene.lit:
        dark, _ = scenery(replace(scene, lights=replace(scene.lights, flash=0.0)), wide)
        infrared = np.ascontiguousarray(dark.light[:, shift:, 3:])
    soft = min(1.0, sampling)
    rgb, ir = (
        expose(light, sensor, gain=gain, soft=soft, vignette=vignette_map(view, sensor.vignette, whole), rng=rng)
        for light, sensor, gain in zip((colour, infrared), (camera.rgb, camera.ir), gains, strict=True)
    )
    depth = np.ascontiguousarray(layer.depth[:, shift:])
    sigma = np.float32(stereo_depth_noise(scene.distance) * soft)
    depth += normal(rng, depth.shape) * sigma * np.square(depth / np.float32(scene.distance))
    depth = np.round(depth)
    # Too far to match, too dark to match, or torn at an edge.
    jump = np.zeros(depth.shape, bool)
    jump[:, 1:] = np.abs(np.diff(layer.depth[:, shift:], axis=1)) > 25
    depth[(depth > DEPTH_LIMIT_MM) | jump] = 0
    return SensorImages(rgb, ir, depth[:, :, None], region, shift)


def render_patch(presentation: Presentation, *, size: int = 168, shape: str = "analytic") -> Rendered:
    """Return a square of the cameras' images around the face, for training: uint8/float32 [size, size, ·].

    Raises:
        ValueError: an unknown shape, or a size outside `PATCH_SIZES`.
    """
    if not PATCH_SIZES[0] <= size <= PATCH_SIZES[1]:
        raise ValueError(f"size must be {PATCH_SIZES[0]} to {PATCH_SIZES[1]} pixels, not {size}")
    life = size / (PATCH_EXTENT * BOX_MM[2])
    scene = compose(presentation, life, shape)
    scale = life / scene.shown.scale
    camera_scale = scene.camera.focal_px / scene.distance
    view = View(size, size, scale, size / 2 - BOX_MM[0] * life, size / 2 - BOX_MM[1] * life)
    # The patch is part of a 640×480 frame, so it gets the vignette of its position there.
    ratio = scale / camera_scale
    whole = (size / 2 - scene.centre[0] * 640 * ratio, size / 2 - scene.centre[1] * 480 * ratio, 400 * ratio)
    return _finish(scene, view, whole, ratio)


def render_frame(
    presentation: Presentation,
    *,
    size: tuple[int, int] = (640, 480),
    shape: str = "analytic",
    lit: bool = True,
    vacant: bool = False,
    baseline_mm: float | None = None,
) -> Rendered:
    """Return full images of both cameras, of width and height ``size``; the subject moves between frames.

    ``lit``: whether the strobed illuminator was on for the IR image. Exposure remains that of a lit image, as in a
    camera with a strobed illuminator. ``vacant``: the room without the subject; the boxes give where the subject would
    be. ``baseline_mm``: distance of the IR camera to the right of the RGB camera, 0 to 60, instead of the family's. The
    background then shifts as much as the subject; in reality it would shift less.

    Raises:
        ValueError: an unknown shape, or a size or baseline out of range.
    """
    if not all(FRAME_SIZES[0] <= v <= FRAME_SIZES[1] for v in size):
        raise ValueError(f"size must be {FRAME_SIZES[0]} to {FRAME_SIZES[1]} pixels each way, not {size}")
    width, height = size
    scene = compose(presentation, 1.2 * width / 640, shape)
    scene.lit, scene.vacant = lit, vacant
    if baseline_mm is not None:
        if not 0 <= baseline_mm <= LONGEST_BASELINE_MM:
            raise ValueError(f"baseline_mm must be 0 to {LONGEST_BASELINE_MM:g}, not {baseline_mm}")
        scene.camera = replace(scene.camera, baseline_mm=baseline_mm)
    # For a point of the subject at this distance: focal length in pixels over millimetres.
    scale = scene.camera.focal_px * (width / 640) / scene.distance
    cx, cy = width * (0.5 + scene.centre[0]), height * (0.5 + scene.centre[1])
    view = View(width, height, scale, cx, cy)
    whole = (width / 2, height / 2, math.hypot(width, height) / 2)
    return _finish(scene, view, whole, 1.0)


def _finish(scene: Scene, view: View, whole: tuple[float, float, float], sampling: float) -> Rendered:
    taken = take(scene, view, whole, sampling)
    x, y, w, h = face_box(scene, view)
    yaw, pitch, roll = scene.angles
    return Rendered(
        rgb=taken.rgb,
        ir=taken.ir,
        depth=taken.depth,
        region=taken.region,
        box=(x, y, w, h),
        ir_box=(x - taken.shift, y, w, h),
        presentation=scene.presentation,
        shape=scene.shape.name,
        conditions={
            "distance_mm": scene.distance,
            "yaw_deg": yaw,
            "pitch_deg": pitch,
            "roll_deg": roll,
            "melanin": scene.who.melanin,
            "lux": scene.lux,
            "rgb_mean": float(taken.rgb.mean()),
            "ir_mean": float(taken.ir.mean()),
        },
    )
