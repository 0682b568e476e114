"""Glasses and hats as meshes, in a figure's axes: x right, y up, z out of the face, from between the eyes."""

from __future__ import annotations

import numpy as np

from synthetic.arrays import Array
from synthetic.pathtraced.things import Matter, Thing, joined, tube
from synthetic.people.head import Glasses, Hat
from synthetic.people.makehuman.figure import Figure, FigurePart, smooth_normals
from synthetic.surface import noise

CLEAR = 0.05
"""Share of light reflected by the two faces of a coated lens; 0.08 without coating."""
UNCOATED = 0.08


def _rim(centre: Array, half: tuple[float, float], power: float, bow: float) -> Array:
    """Return the outline of a lens [n, 3]: a superellipse on a slightly bowed front."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * half[0]
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power) * half[1]
    z = -bow * (np.square(centre[0] + x) - centre[0] ** 2)
    return np.stack([centre[0] + x, centre[1] + y, centre[2] + z], 1)


def _lens(rim: Array) -> FigurePart:
    """Return a slightly convex pane inside a rim."""
    middle = rim.mean(0) + np.array([0, 0, 1.6])
    ring = (rim + middle) / 2 + np.array([0, 0, 0.5])
    vertices = np.concatenate([rim, ring, middle[None]]).astype(np.float32)
    n = len(rim)
    k, m = np.arange(n), (np.arange(n) + 1) % n
    triangles = np.concatenate(
        [np.stack([k, m, n + m], 1), np.stack([k, n + m, n + k], 1), np.stack([n + k, n + m, np.full(n, 2 * n)], 1)]
    )
    normals = smooth_normals(vertices, triangles)
    return FigurePart(vertices, normals, np.full((len(vertices), 2), 0.5, np.float32), triangles)


def glasses_things(figure: Figure, glasses: Glasses, *, stand_off: float = 0.0) -> list[Thing]:
    """Return glasses on a figure: frame and two lenses. ``stand_off``: extra distance from the face, mm."""
    # Everything else is derived from the attributes: the same glasses have the same shape.
    rng = np.random.default_rng([0x61, int(glasses.thickness * 1e6), int(glasses.dark_frame * 1e6)])
    half = (float(rng.uniform(21, 27)), float(rng.uniform(15, 22)))
    power = float(rng.choice([2.0, 2.4, 3.5]))
    skin = figure.skin.vertices
    front = skin[(np.abs(skin[:, 0]) < 34) & (np.abs(skin[:, 1] + 2) < 10), 2]
    z = max(float(np.percentile(front, 92)), float(figure.landmarks["left_eye"][2]) + 7) + 3 + stand_off
    rims, lenses = [], []
    for eye in figure.eyes:
        side = np.sign(eye.centre[0])
        centre = np.array([eye.centre[0] + side * 1.0, -3.0, z])
        rim = _rim(centre, half, power, 0.0032)
        rims.append(tube(rim, glasses.thickness * 0.55 + 0.3, closed=True))
        lenses.append(_lens(rim))
    inner = abs(float(figure.eyes[0].centre[0])) + 1 - half[0]
    arch = np.stack([np.linspace(-inner, inner, 9), 2 + 2.5 * np.cos(np.linspace(-1.4, 1.4, 9)), np.full(9, z)], 1)
    rims.append(tube(arch, glasses.thickness * 0.5 + 0.4, closed=False))
    # Points where the temples pass, in front of the protruding ears.
    beside = skin[(np.abs(skin[:, 1] - 3) < 9) & (skin[:, 2] > -50) & (skin[:, 2] < 10)]
    wide = float(np.abs(beside[:, 0]).max()) if len(beside) else 68.0
    outer = abs(float(figure.eyes[0].centre[0])) + 1 + half[0]
    for side in (-1, 1):
        hinge = z - 0.0032 * (outer**2 - float(figure.eyes[0].centre[0]) ** 2)
        temple = np.array([[side * outer, 4, hinge], [side * (wide + 1), 4, hinge - 12], [side * (wide + 1), 2, -75]])
        rims.append(tube(temple, glasses.thickness * 0.5 + 0.5, closed=False))
    dark = glasses.dark_frame
    frame = Matter((dark, dark * 0.9, dark * 0.85, dark + 0.12), roughness=0.25)
    if glasses.tint:
        # Dyes of tinted lenses mostly transmit NIR.
        pane = Matter((0.02,) * 4, roughness=0.06, opacity=(glasses.tint, 0.08 + 0.25 * glasses.tint))
    else:
        mirrored = UNCOATED if glasses.disc else CLEAR
        pane = Matter((0.9,) * 4, roughness=0.06, metallic=1.0, opacity=(mirrored, mirrored))
    return [Thing(joined(rims), frame, "worn"), *(Thing(lens, pane, "worn") for lens in lenses)]


def hat_line(hat: Hat, figure: Figure) -> tuple[float, float]:
    """Return the height of a hat's edge at the front, mm above the eyes, and its slope down to the back."""
    crown = float(figure.landmarks["crown"][1])
    return 0.52 * crown - 0.8 * hat.brim, 0.18


def above_hat_line(vertices: Array, hat: Hat, figure: Figure) -> Array:
    """Return the heights of points [n, 3] above a hat's edge, mm [n]."""
    height, slope = hat_line(hat, figure)
    reach: Array = vertices[:, 1] - height - slope * (vertices[:, 2] - 10)
    return reach


def cap_things(figure: Figure, hat: Hat) -> list[Thing]:
    """Return a cap or a knitted hat, with a peak when its brim is wide."""
    skin = figure.skin
    above = above_hat_line(skin.vertices, hat, figure)
    kept = (above[skin.triangles] > 0).any(1) & (np.abs(skin.vertices[skin.triangles, 2] + 40) < 120).all(1)
    used, renumbered = np.unique(skin.triangles[kept], return_inverse=True)
    scalp = skin.vertices[used].copy()
    # Vertices near the edge are moved onto the line, so that it does not follow the jagged mesh.
    below = above[used] < 0
    scalp[below, 1] -= above[used][below]
    middle = np.array([0, 30, -55], np.float32)
    outward = scalp - middle
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    shell = scalp + outward * np.float32(11)
    triangles = renumbered.reshape(-1, 3)
    rng = np.random.default_rng(hat.texture_seed)
    knit = 1 + 0.14 * noise(rng, (256, 256), 60)
    albedo = (np.array(hat.colour, np.float32) * knit[:, :, None]).astype(np.float32)
    uv = np.stack([shell[:, 0], shell[:, 1] + shell[:, 2]], 1) / 240 + 0.5
    cloth = Matter(albedo, roughness=0.9)
    things = [
        Thing(
            FigurePart(shell, smooth_normals(shell, triangles), uv.astype(np.float32), triangles.astype(np.int64)),
            cloth,
            "worn",
        )
    ]
    if hat.brim > 6:
        things.append(Thing(_peak(figure, hat, shell), cloth, "worn"))
    return things


def _peak(figure: Figure, hat: Hat, shell: Array) -> FigurePart:
    """Return the peak of a cap: a bent half disc in front of the forehead."""
    height, _ = hat_line(hat, figure)
    front = float(shell[:, 2].max())
    wide = 0.8 * float(np.abs(shell[:, 0]).max())
    angle = np.linspace(0, np.pi, 21)
    inner = np.stack([np.cos(angle) * wide, np.zeros(21), front - 28 + 18 * np.sin(angle)], 1)
    outer = np.stack([np.cos(angle) * (wide + 4), -7 * np.ones(21), front - 24 + 78 * np.sin(angle)], 1)
    bend = np.array([0, 1, 0]) * (-0.0035 * np.square(inner[:, :1]))
    base = np.array([0.0, height + 4, 0.0])
    vertices = np.concatenate([inner + bend + base, outer + bend + base]).astype(np.float32)
    k = np.arange(20)
    triangles = np.concatenate([np.stack([k, k + 21, k + 22], 1), np.stack([k, k + 22, k + 1], 1)])
    return FigurePart(vertices, smooth_normals(vertices, triangles), np.full((42, 2), 0.5, np.float32), triangles)
