"""Two sources of head shape behind one interface: analytic, and derived from scans.

Both are painted in the same millimetres by the same functions; a shape defines the canvas size, the positions of
features on it, and the relief below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.mesh import Mesh
from synthetic.people import scan
from synthetic.people.head import (
    EXTENT,
    Expression,
    Hat,
    MedicalMask,
    eyeball,
    paint_eyes,
    paint_features,
    paint_hair,
    paint_hat,
    paint_medical_mask,
    skin,
)
from synthetic.people.head import relief as analytic_relief
from synthetic.people.identity import Identity
from synthetic.physics import skin_bands
from synthetic.surface import Painter, Surface, grid

SHAPES = ("analytic", "scan")
Relief = Array | Mesh


class HeadShape(Protocol):
    """A source of head shapes. Canvases are [h, w] over `grid(*extent, pitch)`."""

    name: str
    extent: tuple[float, float, float, float]

    def features(self, who: Identity) -> Identity:
        """Return ``who`` with features at their positions on this canvas."""
        ...

    def relief(self, who: Identity, face: Expression, x: Array, y: Array) -> tuple[Relief, Array]:
        """Return the relief and the head's mask on the canvas."""
        ...

    def paint_face(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array, strength: float) -> None:
        """Paint brows, lips and nostrils at ``strength``."""
        ...

    def paint_eyes(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array) -> None:
        """Paint the eyes, opened according to the expression."""
        ...

    def eyes_cover(self, x: Array, y: Array) -> Array:
        """Return 1 where the canvas holds eyes painted apart from the lids, [h, w]."""
        ...

    def raised(self, relief: Relief, cover: Array, millimetres: float, pitch: float) -> Relief:
        """Return a relief raised by ``millimetres`` where ``cover`` is set."""
        ...

    def smoothed(self, relief: Relief, millimetres: float, pitch: float) -> Relief:
        """Return a relief without detail smaller than ``millimetres``."""
        ...

    def worn(self, below: Relief, top: Relief, cover: Array, gap: float, pitch: float) -> Relief:
        """Return ``top``, moved out by ``gap`` mm, where ``cover`` is set, else ``below``."""
        ...


class AnalyticHead:
    """Ellipsoids and bumps; needs no data."""

    name = "analytic"
    extent = EXTENT

    def features(self, who: Identity) -> Identity:
        return who

    def relief(self, who: Identity, face: Expression, x: Array, y: Array) -> tuple[Relief, Array]:
        return analytic_relief(who, face, x, y)

    def paint_face(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array, strength: float) -> None:
        # Scanned heads get this from their relief: less light reaches the corners of the eyes than the cheeks.
        p = Painter(x, y)
        shade = skin_bands(who.melanin) * np.array([0.48, 0.42, 0.42, 0.62], np.float32)
        for side in (-1, 1):
            at, c = p.ellipse(side * (who.eye_x - 3), who.eye_y - 5, who.eye_w + 5, 11, 8)
            p.paint(albedo, at, c * np.float32(0.75 * strength), shade)
            at, c = p.ellipse(side * (who.nose_w + 3), who.nose_len - 33, 4, 9, 5)
            p.paint(albedo, at, c * np.float32(0.35 * strength), shade)
        paint_features(who, face, x, y, albedo, strength)

    def paint_eyes(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array) -> None:
        paint_eyes(who, face, x, y, albedo)

    def eyes_cover(self, x: Array, y: Array) -> Array:
        return np.zeros((y.shape[0], x.shape[1]), np.float32)

    def raised(self, relief: Relief, cover: Array, millimetres: float, pitch: float) -> Relief:
        assert not isinstance(relief, Mesh)
        return relief + np.float32(millimetres) * cover

    def smoothed(self, relief: Relief, millimetres: float, pitch: float) -> Relief:
        assert not isinstance(relief, Mesh)
        return float32(cv2.GaussianBlur(relief, (0, 0), millimetres / pitch))

    def worn(self, below: Relief, top: Relief, cover: Array, gap: float, pitch: float) -> Relief:
        assert not isinstance(below, Mesh)
        assert not isinstance(top, Mesh)
        return below + cover * (top + np.float32(gap) - below)


class ScanHead:
    """Shapes of scanned people (see `synthetic.people.scan`). The canvas is an unrolled cylinder; the eyeballs' paint
    is at its right edge, because the lids cover them."""

    name = "scan"
    extent = (-130.0, 166.0, -150.0, 120.0)

    def __init__(self, model: scan.FaceModel) -> None:
        self.model = model

    def features(self, who: Identity) -> Identity:
        # The paint fits the mean face; the relief moves it to this person's features.
        lip = 6.2 + 0.25 * (who.lip - 5.5)
        return replace(
            who,
            width=82.0,
            eye_x=31.3,
            eye_y=-31.0,
            eye_w=14.5,
            eye_h=4.6,
            brow_y=-54.0 + 0.3 * (who.brow_y + 49.5),
            nose_len=41.5,
            nose_w=15.0,
            mouth_y=37.0,
            mouth_w=23.0,
            lip=lip,
            hairline=who.hairline - 6,
        )

    def relief(self, who: Identity, face: Expression, x: Array, y: Array) -> tuple[Relief, Array]:
        blink = min(0.85 * max(1.02 - face.eyes, 0.0), 0.75)
        wide = min(max(face.eyes - 1.0, 0.0) * 4, 0.6)
        gx, gy = face.gaze
        right, down = min(abs(gx) / 3, 0.8), min(abs(gy) / 2, 0.8)
        strengths = {
            "mouthSmile_L": 0.75 * face.smile,
            "mouthSmile_R": 0.75 * face.smile,
            "cheekSquint_L": 0.3 * face.smile,
            "cheekSquint_R": 0.3 * face.smile,
            "jawOpen": 0.35 * face.open_mouth,
            "eyeBlink_L": blink,
            "eyeBlink_R": blink,
            "eyeWide_L": wide,
            "eyeWide_R": wide,
            "eyeLookOut_L" if gx > 0 else "eyeLookIn_L": right,
            "eyeLookIn_R" if gx > 0 else "eyeLookOut_R": right,
            "eyeLookDown_L" if gy > 0 else "eyeLookUp_L": down,
            "eyeLookDown_R" if gy > 0 else "eyeLookUp_R": down,
        }
        mesh = self.model.posed(who.number, {k: v for k, v in strengths.items() if k in self.model.expression})
        return mesh, np.ones((y.shape[0], x.shape[1]), np.float32)

    def paint_face(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array, strength: float) -> None:
        # The relief already smiles and opens its mouth; the paint must not do so again.
        paint_features(who, Expression(), x, y, albedo, strength)
        p = Painter(x, y)
        for side in (-1, 1):
            at, c = p.ellipse(side * who.eye_x, who.eye_y - 4.3, who.eye_w, 1.3, 1.5)
            p.paint(albedo, at, c * np.float32(0.75 * strength), (0.05, 0.04, 0.035, 0.2))
            at, c = p.ellipse(side * who.eye_x, who.eye_y + 3.6, who.eye_w * 0.9, 0.7, 1.2)
            p.paint(albedo, at, c * np.float32(0.3 * strength), (0.08, 0.06, 0.05, 0.22))

    def paint_eyes(self, who: Identity, face: Expression, x: Array, y: Array, albedo: Array) -> None:
        p = Painter(x, y)
        cx, cy = scan.EYE_AT
        at = p.window(cx, cy, 18, 18)
        albedo[at] = eyeball(who, *p.local(at, cx, cy))
        # The cornea reflects a lamp beside the lens: small, and brighter than anything white.
        at, c = p.ellipse(cx - face.gaze[0] * 0.3, cy - face.gaze[1] * 0.3 - 0.6, 1.0, 1.0, 0.8)
        p.paint(albedo, at, c, (0.75, 0.75, 0.75, 3.0))
        at = p.window(*scan.MOUTH_AT, 18, 18)
        albedo[at] = skin_bands(who.melanin) * np.array([0.12, 0.05, 0.05, 0.2], np.float32)

    def eyes_cover(self, x: Array, y: Array) -> Array:
        out = np.zeros((y.shape[0], x.shape[1]), np.float32)
        out[:, x[0] > scan.EYE_AT[0] - 16] = 1
        return out

    def _at_vertices(self, cover: Array, pitch: float) -> Array:
        """Sample a canvas map at the vertices [n, 1]."""
        at = (self.model.topology.canvas - np.array([self.extent[0], self.extent[2]], np.float32)) / np.float32(pitch)
        column, row = np.ascontiguousarray(at.T)
        return float32(cv2.remap(cover, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)).reshape(-1, 1)

    def raised(self, relief: Relief, cover: Array, millimetres: float, pitch: float) -> Relief:
        assert isinstance(relief, Mesh)
        # Hair at the canvas's edge overlaps the eyeballs' paint; do not move the eyeballs from behind their lids.
        apart = self.model.topology.canvas[:, :1] > scan.EYE_AT[0] - 16
        far = np.where(apart, 0, self._at_vertices(cover, pitch) * np.float32(millimetres))
        out = relief.topology.normals(relief.vertices) * far
        return Mesh(relief.vertices + out, relief.topology)

    def smoothed(self, relief: Relief, millimetres: float, pitch: float) -> Relief:
        assert isinstance(relief, Mesh)
        # One pass of averaging over neighbours about 3 mm apart spreads detail by about 2 mm; squared spreads add up.
        vertices = relief.vertices
        for _ in range(max(1, round((millimetres / 2) ** 2))):
            vertices = relief.topology.averaged(vertices)
        return Mesh(vertices, relief.topology)

    def worn(self, below: Relief, top: Relief, cover: Array, gap: float, pitch: float) -> Relief:
        assert isinstance(below, Mesh)
        assert isinstance(top, Mesh)
        # People differ in size: a mask sits on its wearer's face, not where the subject's would be.
        here = self._at_vertices(cover, pitch)
        shift = (here * (below.vertices - top.vertices)).sum(0) / max(float(here.sum()), 1.0)
        outer = top.vertices + shift + top.topology.normals(top.vertices) * np.float32(gap)
        return Mesh(below.vertices + here * (outer - below.vertices), below.topology)


def head_shape(name: str) -> HeadShape:
    """Return the source of shapes called ``name``.

    Raises:
        ValueError: an unknown name. FaceModelError: scan-derived shapes without the model they come from.
    """
    if name == "analytic":
        return AnalyticHead()
    if name == "scan":
        return ScanHead(scan.load())
    raise ValueError(f"unknown head shape {name!r}; there are {', '.join(SHAPES)}")


def head_surface(
    shape: HeadShape,
    who: Identity,
    face: Expression,
    pitch: float,
    rng: np.random.Generator,
    hat: Hat | None = None,
    medical_mask: MedicalMask | None = None,
) -> Surface:
    """Return a living head, painted on a canvas of ``pitch`` mm."""
    x, y = grid(*shape.extent, pitch)
    here = shape.features(who)
    relief, alpha = shape.relief(who, face, x, y)
    albedo = skin(here, x, y)
    shape.paint_face(here, face, x, y, albedo, 1.0)
    hair = paint_hair(here, x, y, albedo, rng)
    if hair.any():
        relief = shape.raised(relief, hair, 6.0, pitch)
    shape.paint_eyes(here, face, x, y, albedo)
    surface = Surface(
        x0=shape.extent[0],
        y0=shape.extent[2],
        pitch=pitch,
        relief=relief,
        albedo=albedo,
        alpha=alpha,
        gloss=(0.035, 0.03),
        shine=10,
        diffusion=(0.8, 2.6),
    )
    put_hat_on(shape, surface, here, hat)
    put_medical_mask_on(shape, surface, here, medical_mask)
    return surface


def put_medical_mask_on(shape: HeadShape, surface: Surface, who: Identity, mask: MedicalMask | None) -> None:
    """Put a medical mask on a finished head or mask; ``who``: the person whose features it follows, on this canvas."""
    if mask is None:
        return
    x, y = grid(*shape.extent, surface.pitch)
    cover = paint_medical_mask(who, mask, x, y, surface.albedo)
    # Cloth does not follow lips and nostrils.
    cloth = shape.smoothed(surface.relief, 6.0, surface.pitch)
    surface.relief = shape.worn(surface.relief, cloth, cover, 3.0, surface.pitch)


def put_hat_on(shape: HeadShape, surface: Surface, who: Identity, hat: Hat | None) -> None:
    """Put a cap on a finished head or mask; ``who``: the person whose hairline it follows, on this canvas."""
    if hat is None:
        return
    x, y = grid(*shape.extent, surface.pitch)
    bare = surface.albedo.copy()
    cover = paint_hat(who, hat, x, y, surface.albedo)
    # The eyes' paint is at the canvas's edge, where the hat must not reach.
    eyes = shape.eyes_cover(x, y) > 0
    surface.albedo[eyes] = bare[eyes]
    surface.relief = shape.raised(surface.relief, cover, 5.0, surface.pitch)
