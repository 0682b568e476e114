"""Skin, hair and eyes of MakeHuman's people in four bands: photographs in the visible, physics at 850 nm."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array, float32
from synthetic.people.identity import Identity
from synthetic.people.makehuman.figure import TO_MM
from synthetic.people.makehuman.library import Library, LoadedProxy, read_picture
from synthetic.people.makehuman.person import Person
from synthetic.physics import skin_bands, srgb_to_linear
from synthetic.surface import noise

EDGE = 640
"""Edge of a skin texture in pixels; on a face one pixel covers about two to three millimetres."""
SCATTER_PX = 1.6
"""Light of 850 nm spreads some millimetres in skin, which blurs pigment patterns."""
PIGMENT_CONTRAST = 0.3
"""Remaining visible contrast at 850 nm, as an exponent: melanin absorbs about a quarter as much there."""


@functools.lru_cache(maxsize=2)
def face_positions(library: Library) -> Array:
    """Return the position of each skin texel on the neutral base mesh, mm from between the eyes [EDGE, EDGE, 3], NaN
    outside the head."""
    base = library.base
    owner = base.corners[:, 0]
    eyes = [base.vertices[owner[base.triangles[g]].ravel()] for g in ("helper-l-eye", "helper-r-eye")]
    origin = sum((ball.min(0) + ball.max(0)) / 2 for ball in eyes) / 2
    place = (base.vertices - origin) * np.float32(TO_MM)
    triangles = base.triangles["body"]
    head = triangles[(place[owner[triangles], 1] > -150).all(1) & (np.abs(place[owner[triangles], 0]) < 120).all(1)]
    out = np.full((EDGE, EDGE, 3), np.nan, np.float32)
    for corner in head:
        at = base.uv[corner].astype(np.float64) * EDGE
        at[:, 1] = EDGE - at[:, 1]
        _fill(out, at, place[owner[corner]])
    return out


def _fill(out: Array, at: NDArray[np.float64], values: Array) -> None:
    """Draw a triangle of ``values`` [3, 3] at pixels ``at`` [3, 2], half a pixel beyond its edges."""
    x0, y0 = np.floor(at.min(0) - 0.5).astype(int).clip(0, EDGE - 1)
    x1, y1 = np.ceil(at.max(0) + 0.5).astype(int).clip(0, EDGE - 1)
    x, y = np.meshgrid(np.arange(x0, x1 + 1) + 0.5, np.arange(y0, y1 + 1) + 0.5)
    (ax, ay), (bx, by), (cx, cy) = at
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if abs(area) < 1e-9:
        return
    v = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
    w = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
    share = np.stack([1 - v - w, v, w], 2)
    inside = (share > -0.35).all(2)
    out[y0 : y1 + 1, x0 : x1 + 1][inside] = (share @ values)[inside]


def lips_cover(position: Array) -> Array:
    """Return the lips' mask on the neutral face [h, w], 0 to 1."""
    x, y, z = (position[:, :, k] for k in range(3))
    inside = np.square(x / 27) + np.square((y + 69) / np.where(y > -69, 9.5, 11.5))
    return _known(np.clip((1 - inside) * 4, 0, 1) * (z > 5))


def beard_cover(position: Array) -> Array:
    """Return the beard's mask on the neutral face [h, w], 0 to 1."""
    x, y, z = (position[:, :, k] for k in range(3))
    cheeks = np.clip((np.abs(x) - 46) / 10, 0, 1) * np.clip((-28 - y) / 12, 0, 1) * np.clip((z + 60) / 15, 0, 1)
    lower = np.clip((-46 - y) / 5, 0, 1) * np.clip((z + 45) / 20, 0, 1)
    throat = np.clip((y + 125) / 15, 0, 1)
    mouth = np.square(x / 27) + np.square((y + 69) / 10)
    nose = np.square(x / 20) + np.square((y + 40) / 14)
    return _known(np.maximum(cheeks, lower) * throat * np.clip(3 * mouth - 2.6, 0, 1) * np.clip(3 * nose - 3, 0, 1))


def _known(cover: Array) -> Array:
    return float32(cv2.GaussianBlur(np.nan_to_num(cover).astype(np.float32), (0, 0), 1.0))


def face_tone(photograph: Array, position: Array) -> Array:
    """Return the mean colour of cheeks and forehead in a skin's linear photograph [3]."""
    x, y, z = (np.nan_to_num(position[:, :, k], nan=-999.0) for k in range(3))
    face = (np.abs(x) < 55) & (y > -60) & (y < 45) & (z > -15) & (np.hypot(np.abs(x) - 31, y) > 22)
    return np.asarray(photograph[face].mean(0), np.float32)


@functools.lru_cache(maxsize=24)
def skin_photograph(library: Library, name: str) -> Array:
    """Return a skin's photograph, linear [EDGE, EDGE, 3]."""
    return srgb_to_linear(float32(read_picture(library.skins[name], EDGE)[:, :, :3]) / np.float32(255))


@functools.lru_cache(maxsize=12)
def skin_albedo(library: Library, person: Person) -> Array:
    """Return a person's skin [EDGE, EDGE, 4]: the photograph shifted towards the person's tone, and its appearance at
    850 nm.

    At 850 nm melanin absorbs a quarter of what it does in the visible and light spreads further, so pigment, lips and
    veins lose contrast (Jacques 1998; see `synthetic.physics`).
    """
    who = person.who
    position = face_positions(library)
    photograph = skin_photograph(library, person.skin)
    own = face_tone(photograph, position)
    wanted = skin_bands(who.melanin)
    # The photographs have real hues, the model real tones: shift brightness half-way, hue a quarter.
    brighter = float(wanted[:3].mean() * 0.9 / own.mean())
    hue = wanted[:3] / wanted[:3].mean() / (own / own.mean())
    scale = np.clip(np.sqrt(brighter) * np.power(hue, 0.25), 0.55, 1.6)
    albedo = np.empty((EDGE, EDGE, 4), np.float32)
    albedo[:, :, :3] = photograph * scale
    brightness = photograph.mean(2) / np.float32(own.mean())
    lips = lips_cover(position)
    # Lips are red because blood absorbs green and blue; it absorbs little at 850 nm.
    even = brightness + lips * (np.float32(0.9) - brightness)
    relative = float32(cv2.GaussianBlur(np.power(np.clip(even, 0.02, 2), PIGMENT_CONTRAST), (0, 0), SCATTER_PX))
    albedo[:, :, 3] = wanted[3] * relative
    _paint(albedo, person, position, lips)
    return albedo


def _paint(albedo: Array, person: Person, position: Array, lips: Array) -> None:
    """Paint beard, stubble and make-up over the skin."""
    who = person.who
    rng = np.random.default_rng([0x5B, who.texture_seed])
    grain = noise(rng, (EDGE, EDGE), 260)
    made_up, colour = rng.uniform(size=2)
    if not person.male and made_up < 0.45:
        # Lipstick is a dye: strong in the visible, faint at 850 nm.
        paint = np.array([0.42, 0.05 + 0.1 * colour, 0.08 + 0.1 * colour, 0.5], np.float32)
        cover = lips[:, :, None] * np.array([0.75, 0.75, 0.75, 0.2], np.float32)
        albedo += cover * (paint - albedo)
    if person.male:
        thick = who.beard if who.beard > 0 else 0.18 * float(rng.uniform(0, 1))
        cover = beard_cover(position) * np.clip(thick * (0.95 + 0.5 * grain), 0, 1)
        strands = np.array(who.hair, np.float32) * np.clip(0.65 + 0.35 * grain, 0.2, 1.2)[:, :, None]
        albedo += cover[:, :, None] * np.array([0.9, 0.9, 0.9, 0.8], np.float32) * (strands - albedo)


@functools.lru_cache(maxsize=32)
def hair_albedo(worn: LoadedProxy, hair: tuple[float, float, float, float]) -> tuple[Array, Array]:
    """Return a hair texture [h, w, 4] in a person's colour, and the hair's mask [h, w].

    The melanin of hair falls about fourfold from the visible to 850 nm, so dark hair is brighter there.
    """
    if worn.picture is None:
        return np.tile(np.array(hair, np.float32), (2, 2, 1)), np.ones((2, 2), np.float32)
    picture = float32(worn.picture) / np.float32(255)
    alpha = np.ascontiguousarray(picture[:, :, 3])
    grey = srgb_to_linear(picture[:, :, :3]).mean(2)
    mean = float((grey * alpha).sum() / max(float(alpha.sum()), 1.0))
    strands = np.clip(grey / max(mean, 1e-4), 0.1, 3.5)
    colour = np.array(hair, np.float32)
    albedo = np.empty((*alpha.shape, 4), np.float32)
    albedo[:, :, :3] = colour[:3] * np.power(strands, 0.8)[:, :, None]
    albedo[:, :, 3] = colour[3] * np.power(strands, 0.45)
    return albedo, alpha


@functools.lru_cache(maxsize=16)
def eye_albedo(library: Library, name: str, side: int) -> Array:
    """Return the front view of an eyeball [256, 256, 4]; it fills the square.

    In the infrared the white is darker than in the visible, the iris brighter, the pupil dark.
    """
    picture = read_picture(library.irises[name], 512)[:, :, :3]
    cx, cy = (360, 152) if side > 0 else (150, 358)
    crop = picture[cy - 148 : cy + 148, cx - 148 : cx + 148].astype(np.float32) / 255
    linear = srgb_to_linear(float32(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA)))
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    radius = np.hypot(x - 127.5, y - 127.5) / 128
    iris = np.clip((0.51 - radius) / 0.03 + 0.5, 0, 1)
    pupil = np.clip((0.15 - radius) / 0.02 + 0.5, 0, 1)
    contrast = linear.mean(2) / max(float(linear[radius < 0.5].mean()), 1e-3)
    nir = 0.46 + iris * (0.30 * np.power(np.clip(contrast, 0.2, 3), 0.3) - 0.46)
    nir += pupil * (0.03 - nir)
    return np.concatenate([linear * np.float32(0.8), nir[:, :, None]], 2).astype(np.float32)


def brow_colour(who: Identity) -> tuple[float, float, float, float]:
    """Return the colour of brows and lashes: dense and short, so darker than scalp hair."""
    r, g, b, nir = who.hair
    return 0.5 * r, 0.5 * g, 0.5 * b, 0.7 * nir
