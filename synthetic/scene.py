"""A presentation: who or what, where, how lit, seen by which cameras; and the pictures it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import FAMILIES, Camera, draw_camera, expose, normal
from synthetic.head import Expression, Glasses, Hat
from synthetic.identity import Identity, identity_of
from synthetic.instruments import HELD, INSTRUMENTS
from synthetic.physics import skin_bands, stereo_depth_noise
from synthetic.presented import Presented
from synthetic.render import (
    PIVOT_MM,
    Layer,
    Lights,
    View,
    flat_layer,
    over,
    render_surface,
    rotation,
    vignette_map,
)
from synthetic.shape import HeadShape, head_shape, head_surface
from synthetic.surface import Array, noise
from synthetic.worn import eyewear

BONA_FIDE = "bona_fide"
SPECIES: tuple[str, ...] = (BONA_FIDE, *INSTRUMENTS)
BOX_MM = (0.0, -14.0, 150.0)
"""Centre and edge of the face box on a life-size head, as OpenCV's frontal cascade (alt2) draws it."""
PATCH_EXTENT = 1.75
"""Edge of a patch against the face box."""
PATCH_SIZES, FRAME_SIZES = (64, 512), (160, 4096)
DEPTH_LIMIT_MM = 4000.0
LONGEST_BASELINE_MM = 60.0


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the rig delivers, and what only a simulation knows.

    ``rgb`` uint8 [H, W, 3], RGB order. ``ir`` uint8 [H, W, 1]. ``depth`` float32 [H, W, 1], millimetres, 0 = missing.
    ``region`` uint8 [H, W, 1]: 255 where a partial attack covers a living face, in ``rgb`` pixels; zero elsewhere.
    ``box`` x, y, width, height of the face in ``rgb`` pixels; ``ir_box`` in ``ir`` and ``depth`` pixels. ``label`` 1
    for bona fide, 0 for an attack. ``conditions``: measured facts of the scene.
    """

    rgb: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    depth: NDArray[np.float32]
    region: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    ir_box: tuple[float, float, float, float]
    species: str
    label: int
    subject: int
    presentation: int
    family: str
    shape: str
    seed: int
    conditions: Mapping[str, float]


@dataclass(slots=True)
class Scene:
    """Everything that is decided before a picture is taken."""

    who: Identity
    shape: HeadShape
    shown: Presented
    held: bool
    turn: Array
    angles: tuple[float, float, float]
    distance: float
    centre: tuple[float, float]
    lights: Lights
    lux: float
    camera: Camera
    place_key: list[int]
    place: np.random.Generator
    sensor: np.random.Generator
    lit: bool = True
    vacant: bool = False


def compose(
    seed: int, subject: int, species: str, family: str, presentation: int, frame: int, scale: float, shape: str
) -> Scene:
    """Decide a presentation. ``scale``: pixels a mm that the pictures will have, which sets the surface's grid."""
    if species not in SPECIES:
        raise ValueError(f"unknown species {species!r}; there are {', '.join(SPECIES)}")
    if family not in FAMILIES:
        raise ValueError(f"unknown sensor family {family!r}; there are {', '.join(FAMILIES)}")
    if min(seed, subject, presentation, frame) < 0:
        raise ValueError("seed, subject, presentation and frame must not be negative")
    key = [seed, subject, SPECIES.index(species), FAMILIES.index(family), presentation]
    rng = np.random.default_rng([*key, 0])
    camera = draw_camera(family, rng)
    who = identity_of(subject)
    source = head_shape(shape)
    pitch = min(1.7, max(0.6, 1.0 / scale))
    held = species in HELD
    angles = tuple(float(rng.normal(0, s)) for s in ((9, 9, 4) if held else (11, 7, 4)))
    distance = float(rng.uniform(360, 820))
    centre = (float(rng.normal(0, 0.05)), float(rng.normal(0, 0.04)))
    lights, lux = room(rng)
    shown = presented(species, source, who, presentation, pitch, rng)
    # A slow sway, so that consecutive frames differ as they do of a living person and of a held sheet alike.
    phase = rng.uniform(0, 2 * math.pi, 4)
    t = frame / 30
    sway = [math.sin(2 * math.pi * (0.4 + 0.13 * k) * t + p) - math.sin(p) for k, p in enumerate(phase)]
    yaw, pitch_angle, roll = (a + 1.5 * s for a, s in zip(angles, sway, strict=False))
    limits = (30.0, 25.0, 15.0)
    yaw, pitch_angle, roll = (max(-m, min(m, a)) for a, m in zip((yaw, pitch_angle, roll), limits, strict=True))
    return Scene(
        who=who,
        shape=source,
        shown=shown,
        held=held,
        turn=rotation(yaw, pitch_angle, roll),
        angles=(yaw, pitch_angle, roll),
        distance=distance + 4 * sway[3],
        centre=(centre[0] + 0.004 * sway[0], centre[1] + 0.004 * sway[1]),
        lights=lights,
        lux=lux,
        camera=camera,
        place_key=[*key, 1],
        place=np.random.default_rng([*key, 1]),
        sensor=np.random.default_rng([*key, 2, frame]),
    )


def presented(
    species: str, shape: HeadShape, who: Identity, presentation: int, pitch: float, rng: np.random.Generator
) -> Presented:
    """What is held or worn before the cameras, or the living head."""
    if species != BONA_FIDE:
        return INSTRUMENTS[species](shape, who.number, presentation, pitch, rng)
    face = Expression(
        smile=float(max(0, rng.uniform(-0.6, 1))),
        open_mouth=float(max(0, rng.uniform(-2, 1))),
        eyes=float(rng.uniform(0.55, 1.1)),
        gaze=(float(rng.normal(0, 1.6)), float(rng.normal(0, 0.7))),
    )
    glasses = None
    if rng.uniform() < 0.28:
        tinted = rng.uniform() < 0.2
        glasses = Glasses(
            tint=float(rng.uniform(0.5, 0.92) if tinted else 0.0),
            dark_frame=0.015 + 0.2 * float(rng.uniform()) ** 3,
            thickness=float(rng.uniform(0.8, 3.5)),
            disc=bool(rng.uniform() < 0.6),
        )
    hat = None
    if rng.uniform() < 0.12:
        dark = float(rng.uniform(0.02, 0.5))
        hat = Hat(
            (*(dark * rng.uniform(0.5, 1.5, 3)).tolist(), float(rng.uniform(0.1, 0.7))), float(rng.uniform(0, 14))
        )
    head = head_surface(shape, who, face, pitch, rng, hat)
    if glasses is None:
        return Presented(head)
    return Presented(head, before=(eyewear(shape.features(who), glasses, pitch),))


def room(rng: np.random.Generator) -> tuple[Lights, float]:
    """Lights of a room, and its illuminance in lux; one presentation in seven is in the dark."""
    dark = rng.uniform() < 0.15
    lux = float(
        np.exp(rng.uniform(math.log(0.2), math.log(4))) if dark else np.exp(rng.uniform(math.log(80), math.log(1500)))
    )
    level = lux / 300
    warm = float(rng.uniform(-1, 1))
    tint = np.array([1 + 0.16 * warm, 1.0, 1 - 0.22 * warm], np.float32)
    # Lamps with filaments and the sun are bright in the infrared, LEDs are not.
    daylight = not dark and rng.uniform() < 0.2
    nir = float(rng.uniform(0.25, 0.9) if daylight else rng.uniform(0.005, 0.12))
    share = float(rng.uniform(0.3, 0.75))
    ambient = np.array([*(tint * np.float32(level * share)), nir * 0.5], np.float32)
    lamps = []
    for _ in range(int(rng.integers(1, 3))):
        direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.15), rng.uniform(0.25, 1)], np.float32)
        direction /= np.linalg.norm(direction)
        strength = level * (1 - share) * float(rng.uniform(0.6, 1.6))
        lamps.append((direction, np.array([*(tint * np.float32(strength)), nir * 0.6], np.float32)))
    return Lights(ambient, tuple(lamps), flash=float(rng.uniform(0.7, 1.3))), lux


def surroundings(scene: Scene, view: View) -> Layer:
    """Background, what of a body is behind a head, and the body behind a held instrument."""
    rng, who = scene.place, scene.who
    x, y = view.millimetres()
    near, shape = scene.distance, (view.height, view.width)
    # Walls are nearer to grey than paint charts are.
    wall = np.array([*rng.uniform(0.06, 0.7) * rng.uniform(0.7, 1.3, 3), rng.uniform(0.15, 0.7)], np.float32)
    pattern = 1 + rng.uniform(0.05, 0.4) * noise(rng, shape, int(rng.integers(2, 9)))
    away = scene.distance + float(rng.uniform(300, 2500))
    ones = np.ones(shape, np.float32)
    layer = flat_layer(ones, wall, np.clip(pattern, 0.05, 3).astype(np.float32), scene.lights, away)
    if scene.vacant:
        return layer

    def add(cover: NDArray[Any], albedo: Array, shade: NDArray[Any] | float, behind: float) -> None:
        # Most of these cover a few rows at the bottom; nothing is computed for the others.
        cover = np.broadcast_to(cover, shape).astype(np.float32)
        touched = np.flatnonzero(cover.any(axis=1))
        if touched.size:
            rows = slice(int(touched[0]), int(touched[-1]) + 1)
            part = np.broadcast_to(np.float32(shade), shape)[rows]
            over(layer, flat_layer(cover[rows], albedo, part, scene.lights, near + behind), rows)

    if scene.held:
        # Whoever holds it, half hidden behind.
        cover = np.clip((230 - np.abs(x + rng.uniform(-80, 80))) / 6, 0, 1) * np.clip(
            (y + rng.uniform(-40, 60)) / 6, 0, 1
        )
        add(cover, np.array([*rng.uniform(0.02, 0.6, 3), rng.uniform(0.1, 0.7)], np.float32), 0.7, 180)
        return layer
    if who.long_hair:
        cover = np.clip((1 - np.square(x / (who.width + 18)) - np.square((y - 5) / 128)) * 10, 0, 1)
        add(cover, np.array(who.hair, np.float32), 0.75 + 0.2 * noise(rng, shape, 30), 105)
    if scene.shape.name == "analytic":
        # Scanned heads bring their necks.
        cover = np.clip((50 - np.abs(x) + np.maximum(y - 105, 0) * 0.8) / 3, 0, 1) * np.clip((y - 40) / 5, 0, 1)
        add(cover, skin_bands(who.melanin), 0.65 - 0.32 * np.square(np.clip(x / 60, -1, 1)), 85)
    return layer


def clothes(scene: Scene, view: View, layer: Layer) -> Layer:
    """Shoulders and collar, before the neck."""
    x, y = view.millimetres()
    rng = scene.place
    cloth = np.array([*rng.uniform(0.02, 0.6, 3), rng.uniform(0.1, 0.7)], np.float32)
    drop = (
        y - 122 - np.square(np.clip(np.abs(x) - 40, 0, None)) * 0.0016 + 0.0025 * np.square(np.minimum(np.abs(x), 40))
    )
    cover = np.clip(drop / 4, 0, 1) * np.clip((230 - np.abs(x)) / 4, 0, 1)
    touched = np.flatnonzero(cover.any(axis=1))
    if touched.size:
        rows = slice(int(touched[0]), int(touched[-1]) + 1)
        part = np.ascontiguousarray(cover[rows], np.float32)
        shade = np.full_like(part, 0.8)
        over(layer, flat_layer(part, cloth, shade, scene.lights, scene.distance + 75), rows)
    return layer


def fingers(scene: Scene, view: View, layer: Layer) -> Layer:
    """Fingers that hold a sheet at its edges, before it."""
    rng = scene.place
    half_w = -scene.shown.surface.x0
    half_h = -scene.shown.surface.y0
    x, y = view.millimetres()
    skin = skin_bands(float(rng.choice((0.04, 0.1, 0.2))))
    for side in (-1, 1):
        for _ in range(int(rng.integers(0, 3))):
            cx, cy = side * (half_w - rng.uniform(-8, 14)), rng.uniform(-0.2, 1) * half_h
            spread = np.square((x - cx) / rng.uniform(20, 30)) + np.square((y - cy) / rng.uniform(8, 11))
            cover = np.clip((1 - spread) * 4, 0, 1).astype(np.float32)
            shade = (0.6 + 0.4 * np.clip(1 - spread, 0, 1)).astype(np.float32)
            over(layer, flat_layer(cover, skin, shade, scene.lights, scene.distance - 8))
    return layer


def face_box(scene: Scene, view: View) -> tuple[float, float, float, float]:
    """The face's box in a view, x, y, width, height."""
    cx, cy, edge = (v * scene.shown.scale for v in BOX_MM)
    pivot = 0.0 if scene.held else PIVOT_MM
    x, y, _ = scene.turn @ np.array([cx, cy, pivot], np.float32)
    side = edge * view.scale
    return float(view.cx + x * view.scale - side / 2), float(view.cy + y * view.scale - side / 2), side, side


@dataclass(slots=True)
class Taken:
    """Colour, infrared and depth pictures of a view, the attacked region in colour's pixels, and the infrared camera's
    shift in pixels."""

    rgb: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    depth: NDArray[np.float32]
    region: NDArray[np.uint8]
    shift: int


def scenery(scene: Scene, view: View) -> tuple[Layer, NDArray[np.uint8]]:
    """Light and depth of everything in a view, and 255 where a partial attack is [h, w]."""
    scene = replace(scene, place=np.random.default_rng(scene.place_key))
    layer = surroundings(scene, view)
    pivot = 0.0 if scene.held else PIVOT_MM
    region = np.zeros((view.height, view.width), np.uint8)
    if scene.vacant:
        return layer, region
    for thing in (scene.shown.surface, *scene.shown.before):
        seen = render_surface(thing, scene.turn, view, scene.lights, scene.distance, pivot)
        layer = over(layer, seen)
        if any(thing is attacked for attacked in scene.shown.attacked):
            covered = seen.alpha if seen.alpha.ndim == 2 else seen.alpha[:, :, 0]
            region[covered > 0.5] = 255
    return (fingers if scene.held else clothes)(scene, view, layer), region


def take(scene: Scene, view: View, whole: tuple[float, float, float], sampling: float) -> Taken:
    """Take the pictures of a view.

    The infrared camera stands beside the other, so it sees the same scene a little to the left: one wider view serves
    both. ``whole``: see `vignette_map`. ``sampling``: view pixels per camera pixel; a coarser view averages noise away.
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
    # Automatic exposure looks at the face; in the dark its gain ends and the picture stays black.
    rgb_gain = min(camera.rgb_target / max(float(colour[middle].mean()), 1e-6), 5.0)
    ir_gain = min(camera.ir_target / max(float(infrared[middle].mean()), 1e-6), 6.0)
    if not scene.lit:
        dark, _ = scenery(replace(scene, lights=replace(scene.lights, flash=0.0)), wide)
        infrared = np.ascontiguousarray(dark.light[:, shift:, 3:])
    soft = min(1.0, sampling)
    rgb = expose(
        colour,
        gain=rgb_gain,
        gamma=camera.rgb_gamma,
        noise=camera.rgb_noise * soft * math.sqrt(max(rgb_gain, 1)),
        blur=camera.rgb_blur * soft,
        vignette=vignette_map(view, camera.rgb_vignette, whole),
        rng=rng,
    )
    ir = expose(
        infrared,
        gain=ir_gain,
        gamma=camera.ir_gamma,
        noise=camera.ir_noise * soft * math.sqrt(max(ir_gain, 1)),
        blur=camera.ir_blur * soft,
        vignette=vignette_map(view, camera.ir_vignette, whole),
        rng=rng,
    )
    depth = np.ascontiguousarray(layer.depth[:, shift:])
    sigma = np.float32(stereo_depth_noise(scene.distance) * soft)
    depth += normal(rng, depth.shape) * sigma * np.square(depth / np.float32(scene.distance))
    depth = np.round(depth)
    # Too far to match, too dark to match, or torn at an edge.
    jump = np.zeros(depth.shape, bool)
    jump[:, 1:] = np.abs(np.diff(layer.depth[:, shift:], axis=1)) > 25
    depth[(depth > DEPTH_LIMIT_MM) | jump] = 0
    return Taken(rgb, ir, depth[:, :, None], region, shift)


def render_patch(
    *,
    seed: int,
    subject: int,
    species: str,
    family: str = "A",
    presentation: int = 0,
    size: int = 144,
    frame: int = 0,
    shape: str = "analytic",
) -> Rendered:
    """A square of the cameras' pictures around the face, for training: uint8/float32 [size, size, ·].

    Raises:
        ValueError: an unknown species or family, a negative number, or a size outside `PATCH_SIZES`.
    """
    if not PATCH_SIZES[0] <= size <= PATCH_SIZES[1]:
        raise ValueError(f"size must be {PATCH_SIZES[0]} to {PATCH_SIZES[1]} pixels, not {size}")
    life = size / (PATCH_EXTENT * BOX_MM[2])
    scene = compose(seed, subject, species, family, presentation, frame, life, shape)
    scale = life / scene.shown.scale
    camera_scale = scene.camera.focal_px / scene.distance
    view = View(size, size, scale, size / 2 - BOX_MM[0] * life, size / 2 - BOX_MM[1] * life)
    # The patch is a part of a frame of 640×480: its vignette is that of where it lies there.
    ratio = scale / camera_scale
    whole = (size / 2 - scene.centre[0] * 640 * ratio, size / 2 - scene.centre[1] * 480 * ratio, 400 * ratio)
    return _finish(scene, view, whole, ratio, species, presentation, family, seed)


def render_frame(
    *,
    seed: int,
    subject: int,
    species: str,
    family: str = "A",
    presentation: int = 0,
    size: tuple[int, int] = (640, 480),
    frame: int = 0,
    shape: str = "analytic",
    lit: bool = True,
    vacant: bool = False,
    baseline_mm: float | None = None,
) -> Rendered:
    """Full pictures of both cameras, ``size`` width and height; consecutive ``frame`` numbers move the subject.

    ``lit``: whether the strobed illuminator was on while the infrared picture was taken. Exposure stays that of a lit
    picture, as it does in a camera whose illuminator alternates. ``vacant``: the room before or after, with nobody in
    it; the boxes then say where the subject would be. ``baseline_mm``: how far to the right of the colour camera the
    infrared one stands, 0 to 60, instead of what the family has. What is behind the subject then shifts by as much as
    the subject, where in truth it would shift by less.

    Raises:
        ValueError: an unknown species or family, a negative number, or a size or baseline out of range.
    """
    if not all(FRAME_SIZES[0] <= v <= FRAME_SIZES[1] for v in size):
        raise ValueError(f"size must be {FRAME_SIZES[0]} to {FRAME_SIZES[1]} pixels each way, not {size}")
    width, height = size
    scene = compose(seed, subject, species, family, presentation, frame, 1.2 * width / 640, shape)
    scene.lit, scene.vacant = lit, vacant
    if baseline_mm is not None:
        if not 0 <= baseline_mm <= LONGEST_BASELINE_MM:
            raise ValueError(f"baseline_mm must be 0 to {LONGEST_BASELINE_MM:g}, not {baseline_mm}")
        scene.camera = replace(scene.camera, baseline_mm=baseline_mm)
    # A point of the subject at this distance: focal length in pixels over millimetres.
    scale = scene.camera.focal_px * (width / 640) / scene.distance
    cx, cy = width * (0.5 + scene.centre[0]), height * (0.5 + scene.centre[1])
    view = View(width, height, scale, cx, cy)
    whole = (width / 2, height / 2, math.hypot(width, height) / 2)
    return _finish(scene, view, whole, 1.0, species, presentation, family, seed)


def _finish(
    scene: Scene,
    view: View,
    whole: tuple[float, float, float],
    sampling: float,
    species: str,
    presentation: int,
    family: str,
    seed: int,
) -> Rendered:
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
        species=species,
        label=int(species == BONA_FIDE),
        subject=scene.who.number,
        presentation=presentation,
        family=family,
        shape=scene.shape.name,
        seed=seed,
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
