"""Path-traced images of a presentation, in the same type as the fast renderer's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array, float32
from synthetic.pathtraced.description import Description, describe
from synthetic.pathtraced.instruments import instrument
from synthetic.pathtraced.presented import FLIP, Shown, living, others, placed
from synthetic.pathtraced.render import distances, picture
from synthetic.pathtraced.surroundings import flash_of, lamps_of, place_things
from synthetic.pathtraced.things import Stage, Thing, Window
from synthetic.people.makehuman.library import Library, open_library
from synthetic.people.makehuman.person import person_of
from synthetic.physics import stereo_depth_noise
from synthetic.presentation import Presentation
from synthetic.raster.take import DEPTH_LIMIT_MM, PATCH_EXTENT, PATCH_SIZES, Rendered
from synthetic.rendering import View, rotation, vignette_map
from synthetic.sensor.camera import expose, normal

SAMPLES = 24
FRAME = (640, 480)
FACE_MM = 150.0
"""Edge of the face box on a head of common size, as `synthetic.raster.take` has it."""


def render_patch(presentation: Presentation, *, size: int = 168) -> Rendered:
    """Return a path-traced square of the cameras' images around the face: uint8/float32 [size, size, ·].

    See `render` for more arguments.

    Raises:
        ValueError: a size outside `PATCH_SIZES`.
        MakeHumanError: assets are missing.
        RenderError: Mitsuba is missing or cannot compute here.
    """
    return render(describe(presentation), size=size)


def render(what: Description, *, size: int = 168, samples: int = SAMPLES, library: Library | None = None) -> Rendered:
    """Render a description. ``samples``: paths per pixel. ``library``: source of people, default the folder that the
    environment variable names.

    Raises:
        ValueError: a size outside `PATCH_SIZES`.
        MakeHumanError: assets are missing.
        RenderError: Mitsuba is missing or cannot compute here.
    """
    if not PATCH_SIZES[0] <= size <= PATCH_SIZES[1]:
        raise ValueError(f"size must be {PATCH_SIZES[0]} to {PATCH_SIZES[1]} pixels, not {size}")
    return _taken(_composed(library or open_library(), what), what, size, samples)


def render_frame(what: Description, *, samples: int = SAMPLES, library: Library | None = None) -> Rendered:
    """Return full images of both cameras, 640×480. Arguments and errors as for `render`.

    A pair takes about sixty times as long as a patch of 144 pixels.
    """
    return _taken(_composed(library or open_library(), what), what, None, samples)


@dataclass(frozen=True, slots=True)
class _Composed:
    """A stage with its subject. ``middle``: centre of the face, mm [1, 3]; ``edge_mm``: edge of its box.
    ``shape``: source of the subject's head shape."""

    stage: Stage
    shown: Shown
    middle: Array
    edge_mm: float
    shape: str


def _composed(library: Library, what: Description) -> _Composed:
    shown = living(library, what) if what.presentation.bona_fide else instrument(library, what)
    turn: Array = (FLIP @ rotation(what.yaw, what.pitch, what.roll) @ FLIP).astype(np.float32)
    pivot = np.array(shown.pivot, np.float32)
    things = [placed(thing, turn, shown.pivot) for thing in shown.things]
    _, infrared_at = _cameras(what)
    place = np.random.default_rng([0x71, *what.presentation.key])
    behind, windows = place_things(place)
    behind += others(library, what, place)
    lamps = lamps_of(what.lights, place)
    r, g, b, nir = (float(v) for v in what.lights.ambient)
    flash = flash_of(
        infrared_at, what.shot.flash_radius, what.shot.flash_beside, what.shot.flash_above, what.lights.flash
    )
    stage = Stage((*things, *behind), tuple([*lamps, *windows]), flash, (r, g, b, nir))
    middle = (turn @ (np.array(shown.face, np.float32) - pivot) + pivot)[None]
    shape = person_of(library, what.presentation.subject, reserved=what.reserved).shape
    return _Composed(stage, shown, middle, FACE_MM * shown.face_scale, shape)


def _taken(composed: _Composed, what: Description, size: int | None, samples: int) -> Rendered:
    """Take both images: patches of ``size`` around the face, or full frames."""
    stage = composed.stage
    if size is None:
        views = [Window(at, *FRAME, what.camera.focal_px, (FRAME[0] / 2, FRAME[1] / 2)) for at in _cameras(what)]
    else:
        # Both patches are cut around the face, wherever it is in each camera's frame.
        views = [_patch(at, composed.middle, composed.edge_mm, size) for at in _cameras(what)]
    noise_seed = int(np.random.default_rng([0x72, *what.presentation.key, what.presentation.frame]).integers(1 << 30))
    colour = picture(stage, views[0], "rgb", samples=samples, seed=noise_seed)
    infrared = picture(stage, views[1], "ir", samples=samples, seed=noise_seed + 1)
    depth, _ = distances(stage.things, views[1])
    if size is None:
        boxes = [_box(view, composed) for view in views]
        rgb, ir = _developed_frames(what, colour, infrared, boxes)
        ratio = 1.0
    else:
        edge = size / PATCH_EXTENT
        boxes = [((size - edge) / 2, (size - edge) / 2, edge, edge)] * 2
        ratio = views[0].focal / what.camera.focal_px
        rgb, ir = _developed(what, colour, infrared, size, ratio)
    return Rendered(
        rgb=rgb,
        ir=ir,
        depth=_sensed(what, depth, ratio),
        region=_region(stage.things, views[0]),
        box=boxes[0],
        ir_box=boxes[1],
        presentation=what.presentation,
        shape=composed.shape,
        conditions={
            "distance_mm": what.distance,
            "yaw_deg": what.yaw,
            "pitch_deg": what.pitch,
            "roll_deg": what.roll,
            "melanin": composed.shown.melanin,
            "lux": what.lux,
            "face_px": composed.edge_mm * what.camera.focal_px / what.distance,
            "rgb_mean": float(rgb.mean()),
            "ir_mean": float(ir.mean()),
        },
    )


def _box(view: Window, composed: _Composed) -> tuple[float, float, float, float]:
    """Return the face's box in a view: x, y, width, height."""
    x, y = (float(v) for v in view.project(composed.middle)[0])
    edge = composed.edge_mm * view.focal / (view.at[2] - float(composed.middle[0, 2]))
    return x - edge / 2, y - edge / 2, edge, edge


def _cameras(what: Description) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the positions of the two lenses; the subject's place in the frame sets its offset from the axis."""
    away = what.distance
    x = -what.centre[0] * 640 / what.camera.focal_px * away
    y = what.centre[1] * 480 / what.camera.focal_px * away
    return (x, y, away), (x + what.baseline, y, away)


def _patch(at: tuple[float, float, float], middle: Array, edge_mm: float, size: int) -> Window:
    """Return the window around a face centred at ``middle`` [1, 3]."""
    depth = at[2] - float(middle[0, 2])
    focal = size / PATCH_EXTENT / edge_mm * depth
    window = Window(at, size, size, focal, (0.0, 0.0))
    x, y = window.project(middle)[0]
    return replace(window, middle=(size / 2 - float(x), size / 2 - float(y)))


def _developed(
    what: Description, colour: Array, infrared: Array, size: int, ratio: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Apply the sensor models at their own resolution and resize the result to the patch's."""
    camera, shot = what.camera, what.shot
    rng = np.random.default_rng([0x73, *what.presentation.key, what.presentation.frame])
    # If the camera has fewer pixels than the patch, the image is captured with those and then enlarged.
    own = min(size, max(24, round(size / ratio)))
    if own < size:
        colour, infrared = (
            float32(cv2.resize(v, (own, own), interpolation=cv2.INTER_AREA)).reshape(own, own, -1)
            for v in (colour, infrared)
        )
    soft = min(1.0, ratio * own / size)
    colour = colour * np.array(camera.balance, np.float32)
    rows = slice(round(0.34 * own), round(0.66 * own))
    gains = (
        camera.rgb.gain_for(colour[rows, rows], 5.0, shot.rgb_exposure),
        camera.ir.gain_for(infrared[rows, rows], 8.0, shot.ir_exposure),
    )
    zoom = own / size * ratio
    whole = (own / 2 - what.centre[0] * 640 * zoom, own / 2 - what.centre[1] * 480 * zoom, 400 * zoom)
    view = View(own, own, 1.0, own / 2, own / 2)
    taken = [
        expose(
            np.ascontiguousarray(light),
            sensor,
            gain=gain,
            soft=soft,
            vignette=vignette_map(view, sensor.vignette, whole),
            rng=rng,
        )
        for light, sensor, gain in zip((colour, infrared), (camera.rgb, camera.ir), gains, strict=True)
    ]
    rgb, ir = (_compressed(v, shot.jpeg) for v in taken)
    if own < size:
        rgb, ir = (np.asarray(cv2.resize(v, (size, size)), np.uint8) for v in (rgb, ir))
    return rgb.reshape(size, size, 3), ir.reshape(size, size, 1)


def _developed_frames(
    what: Description, colour: Array, infrared: Array, boxes: list[tuple[float, float, float, float]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Apply the sensor models to full frames. Automatic exposure meters the face, as it does in patches."""
    rng = np.random.default_rng([0x73, *what.presentation.key, what.presentation.frame])
    width, height = FRAME
    whole = (width / 2, height / 2, math.hypot(width, height) / 2)
    view = View(width, height, 1.0, width / 2, height / 2)
    taken = []
    for light, sensor, target, exposure, (x, y, w, h) in (
        (colour * np.array(what.camera.balance, np.float32), what.camera.rgb, 5.0, what.shot.rgb_exposure, boxes[0]),
        (infrared, what.camera.ir, 8.0, what.shot.ir_exposure, boxes[1]),
    ):
        face = light[max(int(y), 0) : max(int(y + h), 1), max(int(x), 0) : max(int(x + w), 1)]
        gain = sensor.gain_for(face, target, exposure)
        vignette = vignette_map(view, sensor.vignette, whole)
        image = expose(np.ascontiguousarray(light), sensor, gain=gain, soft=1.0, vignette=vignette, rng=rng)
        taken.append(_compressed(image, what.shot.jpeg))
    return taken[0].reshape(height, width, 3), taken[1].reshape(height, width, 1)


def _compressed(pixels: NDArray[np.uint8], quality: int | None) -> NDArray[np.uint8]:
    """Return an image after JPEG compression."""
    if quality is None:
        return pixels
    swapped = pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(swapped), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8).reshape(pixels.shape)
    return decoded[:, :, ::-1] if pixels.shape[2] == 3 else decoded


def _sensed(what: Description, depth: Array, ratio: float) -> NDArray[np.float32]:
    """Return depth as active stereo delivers it: noise that grows with distance, holes at edges and far away."""
    rng = np.random.default_rng([0x74, *what.presentation.key, what.presentation.frame])
    sigma = np.float32(stereo_depth_noise(what.distance) * min(1.0, ratio))
    found = np.round(depth + normal(rng, depth.shape) * sigma * np.square(depth / np.float32(what.distance)))
    torn = np.zeros(depth.shape, bool)
    torn[:, 1:] = np.abs(np.diff(depth, axis=1)) > 25
    found[(depth <= 0) | (depth > DEPTH_LIMIT_MM) | torn] = 0
    return np.ascontiguousarray(found[:, :, None], np.float32)


def _region(things: tuple[Thing, ...], window: Window) -> NDArray[np.uint8]:
    """Return the mask of a partial attack on a living face [h, w, 1]."""
    attacks = [k for k, thing in enumerate(things) if thing.attack]
    if not attacks:
        return np.zeros((window.height, window.width, 1), np.uint8)
    _, owner = distances(things, window)
    return np.where(np.isin(owner, attacks), 255, 0).astype(np.uint8)[:, :, None]
