"""Presentation attack instruments as surfaces: prints, screens, masks."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np

from synthetic.head import EXTENT, Expression, head_surface, paint_eyes, paint_features, relief, skin
from synthetic.identity import Identity, identity_of
from synthetic.physics import dye_print_nir, screen_nir, skin_bands, toner_print_nir
from synthetic.render import Lights, View, flat_layer, over, render_surface, rotation
from synthetic.surface import Array, Surface, float32, grey, grid, mixed, noise, power, spread

PICTURE_MM = (-125.0, 125.0, -155.0, 135.0)
"""What of a person a stolen picture shows."""
PICTURES = 3
"""How many different pictures of each person are in circulation."""


@functools.lru_cache(maxsize=512)
def stolen_picture(subject: int, variant: int, pitch: float) -> Array:
    """A portrait of a subject [h, w, 4], linear, 0 to 1: colour as a photographer took it, and as seen in infrared.

    Cached, because a set of attacks shows the same few pictures in many ways. Callers must not write into it.
    """
    rng = np.random.default_rng([0x51, subject, variant])
    who = identity_of(subject)
    x0, x1, y0, y1 = PICTURE_MM
    view = View(round((x1 - x0) / pitch), round((y1 - y0) / pitch), 1 / pitch, -x0 / pitch, -y0 / pitch)
    face = Expression(smile=float(rng.uniform(0, 1)), eyes=float(rng.uniform(0.8, 1.1)))
    side = rng.uniform(-0.7, 0.7)
    direction = np.array([side, -0.5, 0.8], np.float32)
    direction /= np.linalg.norm(direction)
    level = float(rng.uniform(0.7, 1.1))
    lights = Lights(
        ambient=np.array([0.45, 0.45, 0.45, 0.15], np.float32) * np.float32(level),
        lamps=((direction, np.array([0.6, 0.6, 0.6, 0.1], np.float32) * np.float32(level)),),
        flash=0.9,
    )
    turn = rotation(float(rng.uniform(-8, 8)), float(rng.uniform(-6, 6)), float(rng.uniform(-3, 3)))
    wall = np.array([*rng.uniform(0.1, 0.8, 3), 0.4], np.float32)
    blank = np.ones((view.height, view.width), np.float32)
    scene = flat_layer(blank, wall, blank, lights, 1500)
    clothes = np.array([*rng.uniform(0.03, 0.5, 3), rng.uniform(0.2, 0.6)], np.float32)
    x, y = view.millimetres()
    body = np.clip((y - 88 - np.square(x) * 0.0022) / 6, 0, 1)
    neck = np.clip((46 - np.abs(x)) / 4, 0, 1) * np.clip((y - 50) / 6, 0, 1)
    scene = over(
        scene, flat_layer(neck.astype(np.float32), skin_bands(who.melanin), blank * np.float32(0.6), lights, 560)
    )
    scene = over(scene, flat_layer(body.astype(np.float32), clothes, blank * np.float32(0.8), lights, 560))
    scene = over(scene, render_surface(head_surface(who, face, pitch, rng), turn, view, lights, 500))
    picture: Array = np.clip(scene.light, 0, 1)
    picture.setflags(write=False)
    return picture


def sheet(
    picture: Array, half: tuple[float, float], scale: float, pitch: float, curl: float, axis: float
) -> tuple[Surface, Array]:
    """A rectangular thing of ``half`` width and height, mm, and the picture as it lies on it [h, w, 4].

    ``scale``: size of the pictured head against life. ``curl``: bend per mm² across ``axis`` (radians), so that the
    surface stays developable. Beyond the picture's edge its border goes on.
    """
    x, y = grid(-half[0], half[0], -half[1], half[1], pitch)
    per = picture.shape[1] / (PICTURE_MM[1] - PICTURE_MM[0])
    columns = np.broadcast_to((x / scale - PICTURE_MM[0]) * per, (y.shape[0], x.shape[1])).astype(np.float32)
    rows = np.broadcast_to((y / scale - PICTURE_MM[2]) * per, columns.shape).astype(np.float32)
    lying = float32(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    across = x * np.float32(np.cos(axis)) + y * np.float32(np.sin(axis))
    height = (-curl * np.square(across)).astype(np.float32)
    surface = Surface(
        x0=-half[0],
        y0=-half[1],
        pitch=pitch,
        height=height,
        albedo=np.empty((*columns.shape, 4), np.float32),
        alpha=np.ones(columns.shape, np.float32),
    )
    return surface, lying


def paper(subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> tuple[Surface, Array, float]:
    """A sheet of paper of a common size with a stolen picture; also that picture on it and its scale."""
    big = rng.uniform() < 0.4
    scale = float(rng.uniform(0.8, 1.15))
    half = (float(rng.uniform(130, 200)), float(rng.uniform(160, 220))) if big else (105.0, 148.5)
    curl = float(rng.uniform(0, 0.0012)) * (rng.uniform() < 0.6)
    axis = float(rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.15))
    picture = stolen_picture(subject, presentation % PICTURES, pitch)
    surface, lying = sheet(picture, half, scale, pitch, curl, axis)
    return surface, lying, scale


def print_matte(subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> tuple[Surface, float]:
    """An inkjet print with dye inks on matte paper."""
    surface, lying, scale = paper(subject, presentation, pitch, rng)
    white = float(rng.uniform(0.72, 0.88))
    # Dyes reach neither deep black nor full saturation, and the driver lifts the mid-tones.
    tone = power(lying[:, :, :3], float(rng.uniform(0.8, 1.1)))
    saturation = float(rng.uniform(0.7, 1.0))
    ink = mixed(tone, (np.full((3, 3), (1 - saturation) / 3) + saturation * np.eye(3)).astype(np.float32))
    surface.albedo[:, :, :3] = white * (0.05 + 0.95 * ink)
    surface.albedo[:, :, 3] = dye_print_nir(ink, white, float(rng.uniform(0, 0.1)), float(rng.uniform(0.3, 0.9)))
    surface.albedo *= spread(1 + 0.012 * noise(rng, surface.alpha.shape, 60), 4)
    surface.gloss = (0.004, 0.004)
    return surface, scale


def print_toner(subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> tuple[Surface, float]:
    """A laser print, whose toner holds carbon: the face shows in infrared as it does in colour. Sometimes the print is
    of an infrared picture, which looks right to the infrared camera and grey to the other."""
    surface, lying, scale = paper(subject, presentation, pitch, rng)
    white = float(rng.uniform(0.72, 0.88))
    contrast = float(rng.uniform(0.6, 1.0))
    kind = rng.uniform()
    if kind < 0.35:
        tone = spread(np.clip(lying[:, :, 3] * np.float32(rng.uniform(1.0, 1.6)), 0, 1), 3)
    elif kind < 0.6:
        tone = spread(grey(lying[:, :, :3]), 3)
    else:
        tone = lying[:, :, :3]
    tone = power(tone, float(rng.uniform(0.75, 1.1)))
    surface.albedo[:, :, :3] = white * (0.03 + 0.97 * tone)
    surface.albedo[:, :, 3] = toner_print_nir(grey(tone), white, contrast)
    surface.albedo *= spread(1 + 0.02 * noise(rng, surface.alpha.shape, 80), 4)
    surface.gloss = (float(rng.uniform(0.005, 0.06)),) * 2
    surface.shine = float(rng.uniform(10, 40))
    return surface, scale


def replay_screen(subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> tuple[Surface, float]:
    """A telephone, tablet or monitor that plays the subject: it shines by itself and is dark in infrared."""
    phone = rng.uniform() < 0.4
    scale = float(rng.uniform(0.45, 0.62) if phone else rng.uniform(0.8, 1.15))
    half = (36.0, 76.0) if phone else (float(rng.uniform(85, 170)), float(rng.uniform(115, 170)))
    variant = presentation % PICTURES
    # Pictures are kept in two sizes only, or none would ever serve twice.
    picture = stolen_picture(subject, variant, pitch * (2 if phone else 1))
    surface, lying = sheet(picture, half, scale, pitch, 0.0, 0.0)
    x, y = grid(-half[0], half[0], -half[1], half[1], pitch)
    bezel = float(rng.uniform(2, 9))
    inside = (np.abs(x) < half[0] - bezel) & (np.abs(y) < half[1] - bezel * float(rng.uniform(1, 2)))
    shown = power(lying[:, :, :3], float(rng.uniform(0.85, 1.25)))
    # The panel's pixels beat against the camera's: slow waves of brightness and tint.
    angle, wave = rng.uniform(0, np.pi), rng.uniform(4, 25)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * np.float32(2 * np.pi / wave)
    # sin(phase + k) by the addition theorem: two maps serve three colours.
    shift = np.array([0.0, 0.7, 1.4])
    depth = float(rng.uniform(0, 0.06))
    waves = float32(cv2.merge([np.sin(phase), np.cos(phase)]))
    tint = rng.uniform(0.85, 1.1, 3) * float(rng.uniform(0.5, 1.6))
    weights = np.stack([depth * np.cos(shift) * tint, depth * np.sin(shift) * tint, tint], 1).astype(np.float32)
    surface.emission = shown * mixed(waves, weights) * spread(inside.astype(np.float32), 3)
    reflectance = screen_nir(rng)
    surface.albedo[:] = np.array([0.03, 0.03, 0.035, reflectance], np.float32)
    if rng.uniform() < 0.3:
        # Light-coloured bodies are bright round the dark panel.
        frame = np.array([0.6, 0.6, 0.6, 0.55], np.float32)
        surface.albedo[~inside] = frame
    surface.gloss = (float(rng.uniform(0.01, 0.08)), float(rng.uniform(0.05, 0.6)))
    surface.shine = float(rng.uniform(60, 300))
    return surface, scale


def mask_rigid(subject: int, presentation: int, pitch: float, rng: np.random.Generator) -> tuple[Surface, float]:
    """A printed or cast resin mask of the subject, painted, worn by somebody else: right relief, wrong matter."""
    who = identity_of(subject)
    wearer: Identity = identity_of(int(rng.integers(1 << 20)) + (1 << 20))
    face = Expression(smile=float(rng.uniform(0, 0.6)), eyes=float(rng.uniform(0.6, 1.1)))
    surface = head_surface(wearer, face, pitch, rng)
    x, y = grid(*EXTENT, pitch)
    height, _ = relief(who, Expression(smile=face.smile), x, y)
    # Casting and printing round off fine relief.
    height = float32(cv2.GaussianBlur(height, (0, 0), float(rng.uniform(1.5, 4)) / pitch))
    true = skin(who, x, y)
    base = skin_bands(who.melanin)
    even = np.float32(rng.uniform(0.3, 0.9))
    painted = true + (base - true) * even
    painted *= rng.uniform(0.85, 1.15, 4).astype(np.float32)
    paint_features(who, face, x, y, painted, strength=float(rng.uniform(0.55, 1.0)))
    nir = np.float32(rng.uniform(0.35, 0.75))
    # Paint is laid on for the eye; the infrared sees mostly the resin under it.
    ghost = np.float32(rng.uniform(0.1, 0.5))
    relative = painted[:, :, 3] / base[3]
    painted[:, :, 3] = nir * (1 + ghost * (relative - 1))
    outline = np.square(x / (who.width * 0.93)) + np.square((y - 4) / np.where(y < 4, 84, who.chin - 2))
    cover = np.clip((1 - outline) * 18, 0, 1).astype(np.float32)
    if rng.uniform() < 0.7:
        for side in (-1, 1):
            hole = np.square((x - side * who.eye_x) / (who.eye_w + 1)) + np.square((y - who.eye_y) / (who.eye_h + 1.5))
            cover *= 1 - np.clip((1.15 - hole) * 6, 0, 1)
        paint_eyes(who, face, x, y, surface.albedo)
    else:
        paint_eyes(who, Expression(eyes=0.9), x, y, painted)
        painted[:, :, 3] = np.minimum(painted[:, :, 3], nir)
    surface.albedo += spread(cover, 4) * (painted - surface.albedo)
    surface.height += cover * (height + 3 - surface.height)
    surface.gloss = (float(rng.uniform(0.02, 0.16)),) * 2
    surface.shine = float(rng.uniform(8, 40))
    surface.diffusion = (0.2, 0.3)
    return surface, 1.0


Maker = Callable[[int, int, float, np.random.Generator], tuple[Surface, float]]
INSTRUMENTS: dict[str, Maker] = {
    "print_matte": print_matte,
    "print_toner": print_toner,
    "replay_screen": replay_screen,
    "mask_rigid": mask_rigid,
}
"""Species → what makes its surface, from subject, presentation, grid pitch in mm and generator; with the size of the
pictured head against life."""
