"""The only kind of object before the cameras: a relief with reflectances painted on it.

Heads, masks, sheets of paper and phones are all such surfaces, so one renderer serves them all and no rendering
artefact reveals the class. A relief is a height field over its own paint, or a triangle mesh whose vertices have
positions on the paint; light, paint and cameras treat both alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.mesh import Mesh


@dataclass(slots=True)
class Surface:
    """Paint on a regular grid, and the relief it lies on. All arrays float32.

    ``x0``, ``y0``: millimetres of the first sample; ``pitch``: millimetres between samples. ``relief``: height [h, w],
    mm towards the camera, or a mesh. ``albedo`` [h, w, 4]: R, G, B, NIR. ``alpha`` [h, w], or [h, w, 4] where bands
    differ: 1 where there is surface. ``emission`` [h, w, 3]: light given off (screens), or None. ``gloss``: strength
    of the specular lobe, for colour and for NIR; ``shine``: its narrowness. ``diffusion``: how far light travels
    under the surface, mm (skin: a few; paint: none), likewise.
    """

    x0: float
    y0: float
    pitch: float
    relief: Array | Mesh
    albedo: Array
    alpha: Array
    emission: Array | None = None
    gloss: tuple[float, float] = (0.0, 0.0)
    shine: float = 12.0
    diffusion: tuple[float, float] = (0.0, 0.0)


def spread(values: Array, channels: int) -> Array:
    """Repeat a map [h, w] over channels [h, w, channels].

    Products of equal shapes are several times as fast as broadcasting over a short last axis.
    """
    return float32(cv2.merge([values] * channels))


def mixed(values: Array, weights: Array) -> Array:
    """Return linear combinations of channels: [h, w, c] or [h, w] by ``weights`` [d, c] give [h, w, d], or [h, w].

    An extra column in ``weights`` is an additive constant. At most four channels in and out.
    """
    return float32(cv2.transform(values, weights))


def grey(values: Array) -> Array:
    """Return the mean of three channels [h, w, 3] → [h, w]."""
    return mixed(values, np.full((1, 3), 1 / 3, np.float32))


def power(values: Array, exponent: float) -> Array:
    """Return ``values`` clipped at zero and raised to ``exponent``, any shape; OpenCV is several times faster."""
    return float32(cv2.pow(np.maximum(values, 0), exponent)).reshape(values.shape)


def grid(x0: float, x1: float, y0: float, y1: float, pitch: float) -> tuple[Array, Array]:
    """Return coordinates in mm: x [1, w] and y [h, 1], ready to broadcast."""
    x = np.arange(x0, x1, pitch, dtype=np.float32)[None, :]
    y = np.arange(y0, y1, pitch, dtype=np.float32)[:, None]
    return x, y


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Array:
    """Return smooth noise of about unit deviation [h, w], with ``cells`` bumps across the shorter edge."""
    h, w = shape
    small = (max(2, round(cells * h / min(h, w))), max(2, round(cells * w / min(h, w))))
    field = rng.standard_normal(small, dtype=np.float32)
    return float32(cv2.resize(field, (w, h), interpolation=cv2.INTER_CUBIC))


def streaks(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Array:
    """Return vertically stretched noise [h, w], like combed hair: ``cells`` streaks across the shorter edge."""
    h, w = shape
    small = noise(rng, (max(2, h // 7), w), max(2, round(cells * max(2, h // 7) / min(h, w))))
    fine = rng.standard_normal((max(2, h // 7), max(2, round(cells * w / min(h, w)))), dtype=np.float32)
    drawn = float32(cv2.resize(fine, (w, h), interpolation=cv2.INTER_LINEAR))
    return drawn * np.float32(0.8) + float32(cv2.resize(small, (w, h))) * np.float32(0.5)


class Painter:
    """Paints soft ellipses on a grid; each touches only its own window, which keeps painting fast."""

    def __init__(self, x: Array, y: Array) -> None:
        self.x, self.y = x[0], y[:, 0]
        self.pitch = float(self.x[1] - self.x[0])

    def window(self, cx: float, cy: float, rx: float, ry: float) -> tuple[slice, slice]:
        """Return the rows and columns within ``rx``, ``ry`` mm of a point."""
        p = self.pitch
        top, left = int((cy - ry - self.y[0]) / p), int((cx - rx - self.x[0]) / p)
        bottom, right = int((cy + ry - self.y[0]) / p) + 2, int((cx + rx - self.x[0]) / p) + 2
        return slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))

    def local(self, at: tuple[slice, slice], cx: float, cy: float) -> tuple[Array, Array]:
        """Return the coordinates of a window relative to a point."""
        return (self.x[at[1]] - np.float32(cx))[None, :], (self.y[at[0]] - np.float32(cy))[:, None]

    def bump(self, target: Array, cx: float, cy: float, sx: float, sy: float, amplitude: float) -> None:
        """Add a Gaussian of ``amplitude`` with deviations ``sx``, ``sy`` mm."""
        at = self.window(cx, cy, 3 * sx, 3 * sy)
        dx, dy = self.local(at, cx, cy)
        target[at] += np.float32(amplitude) * np.exp(-np.square(dx / sx) / 2) * np.exp(-np.square(dy / sy) / 2)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, soft: float) -> tuple[tuple[slice, slice], Array]:
        """Return a window and, in it, the coverage 0 to 1 of an ellipse with an edge ``soft`` mm wide."""
        at = self.window(cx, cy, rx + soft, ry + soft)
        dx, dy = self.local(at, cx, cy)
        reach = np.sqrt(np.square(dx / rx) + np.square(dy / ry))
        return at, np.clip((1 - reach) * np.float32(min(rx, ry) / soft) + np.float32(0.5), 0, 1)

    def paint(self, albedo: Array, at: tuple[slice, slice], coverage: Array, colour: tuple[float, ...] | Array) -> None:
        """Blend ``colour`` (R, G, B, NIR) over a window of ``albedo``."""
        part = albedo[at]
        if part.size:
            part += spread(coverage, 4) * (np.asarray(colour, np.float32) - part)
