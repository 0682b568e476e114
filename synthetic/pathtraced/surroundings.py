"""Rooms: walls with things on them, windows, furniture, and lamps."""

from __future__ import annotations

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.pathtraced.things import Flash, Lamp, Matter, Thing, plate
from synthetic.rendering import Lights
from synthetic.surface import noise

WALL_PX = 320
LAMP_SIZES_MM = (120.0, 900.0)


def wall_picture(rng: np.random.Generator) -> Array:
    """Return a wall with pictures and furniture, R, G, B and infrared [WALL_PX, WALL_PX, 4]."""
    kind = rng.choice(["plain", "shelf", "pictures", "stripes", "tiles", "cloth", "door"])
    base = _paint(rng, float(rng.uniform(0.15, 0.85)), 0.12)
    wall = np.tile(base, (WALL_PX, WALL_PX, 1))
    wall *= (1 + 0.05 * noise(rng, (WALL_PX, WALL_PX), 9) + 0.02 * noise(rng, (WALL_PX, WALL_PX), 120))[:, :, None]
    if kind == "shelf":
        _shelf(wall, rng)
    elif kind == "pictures":
        for _ in range(int(rng.integers(1, 6))):
            _framed(wall, rng)
    elif kind == "stripes":
        _stripes(wall, rng)
    elif kind == "tiles":
        edge = int(rng.integers(14, 50))
        wall[::edge] *= np.float32(0.6)
        wall[:, ::edge] *= np.float32(0.6)
    elif kind == "cloth":
        fold = 1 + 0.35 * np.sin(np.arange(WALL_PX) * rng.uniform(0.1, 0.5) + 2 * noise(rng, (1, WALL_PX), 4)[0])
        wall *= fold.astype(np.float32)[None, :, None]
    elif kind == "door":
        left, width = int(rng.integers(0, WALL_PX - 60)), int(rng.integers(50, 110))
        wall[60:, left : left + width] = _paint(rng, float(rng.uniform(0.08, 0.6)), 0.25)
        wall[60:, left : left + 2] *= np.float32(0.4)
        wall[60:, left + width - 2 : left + width] *= np.float32(0.4)
    return np.clip(wall, 0.01, 0.92).astype(np.float32)


def _paint(rng: np.random.Generator, level: float, chroma: float) -> Array:
    """Return a paint's colour; its infrared reflectance only loosely follows its brightness, as pigments and dyes
    differ."""
    colour = np.clip(level * (1 + rng.normal(0, chroma, 3)), 0.02, 0.9)
    nir = np.clip(0.5 * level + rng.uniform(0.05, 0.45), 0.03, 0.85)
    return np.array([*colour, nir], np.float32)


def _shelf(wall: Array, rng: np.random.Generator) -> None:
    """Draw shelves with books."""
    step = int(rng.integers(40, 80))
    board = _paint(rng, float(rng.uniform(0.1, 0.5)), 0.2)
    for top in range(0, WALL_PX, step):
        x = 0
        while x < WALL_PX:
            thick, tall = int(rng.integers(3, 11)), int(rng.uniform(0.55, 0.95) * step)
            wall[top + step - tall : top + step, x : x + thick] = _paint(rng, float(rng.uniform(0.04, 0.6)), 0.5)
            wall[top + step - tall : top + step, x : x + 1] *= np.float32(0.5)
            x += thick + int(rng.integers(0, 3))
        wall[top : top + 4] = board


def _framed(wall: Array, rng: np.random.Generator) -> None:
    """Draw a framed picture."""
    w, h = (int(v) for v in rng.integers(25, 100, 2))
    x, y = int(rng.integers(0, WALL_PX - 20)), int(rng.integers(0, WALL_PX - 20))
    wall[y : y + h, x : x + w] = _paint(rng, 0.2, 0.2)
    inside = wall[y + 3 : y + h - 3, x + 3 : x + w - 3]
    if inside.size:
        small = np.clip(rng.uniform(0.05, 0.8, (4, 4, 4)), 0, 1).astype(np.float32)
        inside[:] = cv2.resize(small, (inside.shape[1], inside.shape[0]), interpolation=cv2.INTER_CUBIC)


def _stripes(wall: Array, rng: np.random.Generator) -> None:
    """Draw wallpaper or panels."""
    wave = int(rng.integers(8, 60))
    dark = (np.arange(WALL_PX) // wave) % 2 == 0
    wall[:, dark] *= np.float32(rng.uniform(0.5, 0.9))


def place_things(rng: np.random.Generator) -> tuple[list[Thing], list[Lamp]]:
    """Return a wall, furniture and perhaps a window behind the subject, and the window's light as a lamp.

    Axes are the world's: the subject at the origin, the camera at +z, y up.
    """
    back = -float(np.exp(rng.uniform(np.log(350), np.log(3500))))
    size = 1600 - 0.9 * back
    texture = wall_picture(rng)
    # A near wall shows less of its texture.
    cut = max(24, int(WALL_PX * min(1.0, size / 4000)))
    x, y = (int(rng.integers(0, WALL_PX - cut + 1)) for _ in range(2))
    part = texture[y : y + cut, x : x + cut]
    part = float32(cv2.resize(part, (256, 256), interpolation=cv2.INTER_LINEAR))
    turn = float(rng.normal(0, 0.2))
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]], np.float32)
    wall = plate((size, size)).moved(rotation, np.array([0, 0, back], np.float32))
    things = [Thing(wall, Matter(part, roughness=float(rng.uniform(0.6, 1))))]
    things += _furniture(rng, back)
    lamps: list[Lamp] = []
    if rng.uniform() < 0.15 and back < -600:
        lamps.append(_window(rng, back))
    return things, lamps


def _furniture(rng: np.random.Generator, back: float) -> list[Thing]:
    """Return flat things between subject and wall: backs of chairs, cupboards, screens."""
    things = []
    for _ in range(int(rng.integers(0, 4))):
        z = float(rng.uniform(back * 0.95, -260))
        half = (float(rng.uniform(60, 400)), float(rng.uniform(60, 500)))
        side = float(rng.choice((-1, 1)) * rng.uniform(150 + half[0] * 0.6, 500 - 0.5 * z))
        low = float(rng.uniform(-600, 150))
        at = plate(half).moved(np.eye(3, dtype=np.float32), np.array([side, low, z], np.float32))
        colour = _paint(rng, float(rng.uniform(0.03, 0.7)), 0.3)
        bands = (float(colour[0]), float(colour[1]), float(colour[2]), float(colour[3]))
        things.append(Thing(at, Matter(bands, roughness=float(rng.uniform(0.3, 1)))))
    return things


def _window(rng: np.random.Generator, back: float) -> Lamp:
    """Return a window in the wall, brighter than the surfaces it lights."""
    side, bright = float(rng.choice((-1, 1)) * rng.uniform(100, 700)), float(rng.uniform(1, 5))
    at = (side, float(rng.uniform(-100, 500)), back + 30)
    half = (float(rng.uniform(150, 450)), float(rng.uniform(200, 500)))
    return Lamp(at, (side, at[1], 1000.0), half, (bright, bright, 1.05 * bright, bright * float(rng.uniform(0.2, 0.8))))


def lamps_of(lights: Lights, rng: np.random.Generator) -> list[Lamp]:
    """Return a room's lamps as rectangles of finite size whose light at the subject is that of ``lights``."""
    found = []
    for direction, strength in lights.lamps:
        away = float(rng.uniform(900, 2400))
        x, y, z = (float(v) for v in np.asarray(direction) * away * np.array([1, -1, 1]))
        half = tuple(float(np.exp(rng.uniform(*np.log(LAMP_SIZES_MM)))) for _ in range(2))
        area = 4 * half[0] * half[1]
        # A lamp of radiance L, area A at distance d gives L·A/d²; a white surface under it then shines by 1/π of it.
        scale = np.pi * away**2 / area
        r, g, b, nir = (float(v) for v in np.asarray(strength) * scale)
        found.append(Lamp((x, y, z), (0.0, 0.0, 0.0), (half[0], half[1]), (r, g, b, nir)))
    return found


def flash_of(camera_at: tuple[float, float, float], radius: float, beside: float, above: float, power: float) -> Flash:
    """Return the illuminator beside a lens; ``power``: light on a white surface at 500 mm against full exposure."""
    x, y, z = camera_at
    radiance = power * np.pi * 500.0**2 / (np.pi * radius**2)
    return Flash((x + beside, y + above, z + 2), radius, float(radiance))
