"""Render short presentations with the synthetic sensor, to test decisions over several pairs. They are rendered once
and cached.

A rig with a strobing illuminator is simulated at 30 frames per second. Lit and dark frames alternate, so there is a
pair every 66.7 ms, followed by its dark frame. The box follows the face like that of a tracker: its error has a part
that is constant in a presentation and a part that drifts.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import runtime.imaging.crop
import synthetic.scene
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from runtime.liveness.quality import FACE_RULE
from synthetic import SPECIES, Presentation
from synthetic.raster.take import BOX_MM, PATCH_EXTENT, face_box, take
from synthetic.rendering import View
from synthetic.scene import Scene, compose

FRAME_NS = 33_333_333
PAIR_NS = 2 * FRAME_NS
SIZE = 168
"""Edge of the rendered view in pixels, as in the patches on which the shipped model was trained."""
PIXELS_PER_MM = SIZE / (PATCH_EXTENT * BOX_MM[2])
BOX_CONSTANT, BOX_WANDER, WANDER_NS = 0.03, 0.015, 200_000_000
SEED = 91


@dataclass(frozen=True, slots=True, order=True)
class PlannedPresentation:
    """One person or instrument in front of one rig."""

    family: str
    species: str
    number: int

    @property
    def subject(self) -> int:
        return 3000 + self.number % 400

    def at(self, frame: int) -> Presentation:
        """Return the presentation to render for a frame."""
        return Presentation(
            seed=SEED,
            subject=self.subject,
            species=self.species,
            family=self.family,
            number=self.number,
            frame=frame,
        )


@dataclass(frozen=True, slots=True)
class Sequence:
    """Images of a presentation.

    ``rgb``, uint8 [F, S, S, 3], and ``ir``, uint8 [F, S, S, 1]: the network's crops. ``face_rgb``, ``face_ir``: the
    crops that the gates examine, see `runtime.liveness.quality.FACE_RULE`. ``scene_lit``, ``scene_dark``: whole IR view
    at half size, uint8 [F, 84, 84]. ``scene_box``: face box in that view, float [F, 4].
    """

    what: PlannedPresentation
    rgb: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    face_rgb: NDArray[np.uint8]
    face_ir: NDArray[np.uint8]
    scene_lit: NDArray[np.uint8]
    scene_dark: NDArray[np.uint8]
    scene_box: NDArray[np.float32]


def code_digest() -> str:
    """Return a digest of the source code that determines the pixels of a sequence.

    With it, old pixels are never used with a changed renderer.
    """
    files = [*sorted(Path(synthetic.scene.__file__).parent.rglob("*.py")), Path(runtime.imaging.crop.__file__)]
    parts = [path.read_bytes() for path in [*files, Path(__file__)]]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def view_of(scene: Scene) -> tuple[View, tuple[float, float, float], float]:
    """Return the view around the face, its place in the frame as `take` needs it, and view pixels per camera pixel."""
    scale = PIXELS_PER_MM / scene.shown.scale
    view = View(SIZE, SIZE, scale, SIZE / 2 - BOX_MM[0] * PIXELS_PER_MM, SIZE / 2 - BOX_MM[1] * PIXELS_PER_MM)
    ratio = scale / (scene.camera.focal_px / scene.distance)
    whole = (SIZE / 2 - scene.centre[0] * 640 * ratio, SIZE / 2 - scene.centre[1] * 480 * ratio, 400 * ratio)
    return view, whole, ratio


def render(what: PlannedPresentation, pairs: int, rule: CropRule) -> Sequence:
    """Render a presentation of ``pairs`` pairs. ``rule``: crop rule of the model."""
    rng = np.random.default_rng([SEED, SPECIES.index(what.species), what.number])
    constant, wander = rng.normal(0, BOX_CONSTANT, 3), rng.normal(0, BOX_WANDER, 3)
    keep = float(np.exp(-PAIR_NS / WANDER_NS))
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in Sequence.__slots__[1:]}
    for pair in range(pairs):
        pictures = []
        for lit in (True, False):
            frame = 2 * pair + (not lit)
            scene = compose(what.at(frame), PIXELS_PER_MM, "analytic")
            scene.lit = lit
            view, whole, ratio = view_of(scene)
            taken = take(scene, view, whole, ratio)
            x, y, w, h = face_box(scene, view)
            pictures.append((taken, (x, y, w, h)))
        wander = keep * wander + np.sqrt(1 - keep**2) * rng.normal(0, BOX_WANDER, 3)
        dx, dy, ds = constant + wander
        (taken, (x, y, w, h)), (off, _) = pictures
        side = w * float(np.exp(ds))
        box = Box(x + w / 2 + dx * w - side / 2, y + h / 2 + dy * h - side / 2, side, side)
        ir_box = Box(box.x - taken.shift, box.y, side, side)
        for prefix, cut in (("", rule), ("face_", FACE_RULE)):
            columns[f"{prefix}rgb"].append(crop(taken.rgb, box, cut))
            columns[f"{prefix}ir"].append(crop(taken.ir, ir_box, cut))
        half = (SIZE // 2, SIZE // 2)
        columns["scene_lit"].append(cv2.resize(taken.ir, half, interpolation=cv2.INTER_AREA))
        columns["scene_dark"].append(cv2.resize(off.ir, half, interpolation=cv2.INTER_AREA))
        columns["scene_box"].append(np.array([ir_box.x, ir_box.y, side, side], np.float32) / 2)
    return Sequence(what, **{name: np.stack(values) for name, values in columns.items()})


def _kept(task: tuple[PlannedPresentation, int, CropRule, Path]) -> Path:
    what, pairs, rule, folder = task
    path = folder / f"{what.family}-{what.species}-{what.number}-{pairs}.npz"
    if not path.exists():
        cv2.setNumThreads(1)
        found = render(what, pairs, rule)
        beside = path.with_suffix(".part")
        with open(beside, "wb") as file:
            np.savez(file, **{name: getattr(found, name) for name in Sequence.__slots__[1:]})
        # Written completely or not at all, so that an interrupted run can be continued.
        beside.replace(path)
    return path


def sequences(
    plan: Iterable[PlannedPresentation], pairs: int, rule: CropRule, cache: Path, workers: int = 2
) -> Iterator[Sequence]:
    """Yield the images of every presentation in ``plan`` in order, from ``cache`` or rendered into it.

    ``rule``: crop rule of the model.
    """
    folder = cache / f"{code_digest()}-{rule.size}-{rule.margin}"
    folder.mkdir(parents=True, exist_ok=True)
    todo = list(plan)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        tasks = [(what, pairs, rule, folder) for what in todo]
        for what, path in zip(todo, pool.imap(_kept, tasks, chunksize=2), strict=True):
            with np.load(path, allow_pickle=False) as stored:
                yield Sequence(what, **{name: stored[name] for name in Sequence.__slots__[1:]})


def planned(families: Iterable[str], bona_fide: int, per_attack: int) -> list[PlannedPresentation]:
    """Return a plan of presentations in front of rigs of each family.

    ``bona_fide``: number of people. ``per_attack``: number of instruments of each species.
    """
    return [
        PlannedPresentation(family, species, number)
        for family in families
        for species in SPECIES
        for number in range(bona_fide if species == SPECIES[0] else per_attack)
    ]
