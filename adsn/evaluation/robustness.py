"""Robustness test: scores under sweeps of light, noise, compression, pose, box and detector.

A random sample of pairs of the test set is scored at each step of each sweep. If the data set has the full images, they
are changed before the crop is cut; otherwise the crop is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import PairDataset, Patch, PatchSource
from adsn.evaluation.evaluate import Scored, Scorer
from adsn.evaluation.perturb import Sweep, sweeps, windowed
from adsn.evaluation.robustness_curves import Curve, Point, Robustness
from adsn.metrics import presentation_scores, rates
from runtime.core.errors import InvalidFaceBox, NoFace
from runtime.core.species import BONA_FIDE
from runtime.core.values import Box, Modality, Pair
from runtime.face.detector import FaceDetector
from runtime.face.pair_detection import find_face
from runtime.geometry.box_mapping import MappedBox
from runtime.imaging.crop import CropRule

BATCH = 32
GIVEN = "given box"
"""Neutral step of the detector sweep: the box given in the data set."""


def drawn(species: Sequence[str], presentations: Sequence[str], count: int) -> list[int]:
    """Return indices of up to ``count`` bona fide and ``count`` attack pairs, in ascending order.

    Attack pairs are spread evenly over species. Of each species, first one pair of every presentation is drawn, then a
    second pair of every presentation, and so on.
    """
    rng = np.random.default_rng(0)
    members: dict[str, dict[str, list[int]]] = {}
    for i in rng.permutation(len(species)).tolist():
        members.setdefault(species[i], {}).setdefault(presentations[i], []).append(i)
    chosen: list[int] = []
    # Start with the smallest species, so that the others get the share that it cannot fill.
    attacks = sorted((name for name in members if name != BONA_FIDE), key=lambda n: (_size(members[n]), n))
    for names in ([BONA_FIDE] if BONA_FIDE in members else [], attacks):
        left = count
        for k, name in enumerate(names):
            own = _in_turns(members[name])[: left // (len(names) - k)]
            left -= len(own)
            chosen += own
    return sorted(chosen)


def _size(frames: Mapping[str, Sequence[int]]) -> int:
    return sum(len(indices) for indices in frames.values())


def _in_turns(frames: Mapping[str, Sequence[int]]) -> list[int]:
    """Return one pair of every presentation, followed by a second pair of each, and so on."""
    deepest = max(len(indices) for indices in frames.values())
    return [indices[k] for k in range(deepest) for indices in frames.values() if k < len(indices)]


@dataclass(frozen=True, slots=True)
class KnownBoxes:
    """Box mapper that imitates calibrated cameras, using the boxes given in a data set."""

    boxes: Mapping[str, Box]

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        """Map ``box`` from the ``source`` image to the ``target`` image."""
        a, b = self.boxes[source], self.boxes[target]
        scale = max(b.w, b.h) / max(a.w, a.h)
        x, y = b.x + (box.x - a.x) * scale, b.y + (box.y - a.y) * scale
        return MappedBox(Box(x, y, box.w * scale, box.h * scale), "scale", None)


@dataclass(frozen=True, slots=True)
class RobustnessTest:
    """Measurement of how a model's scores change over the sweeps.

    ``scorer``: function from crops [N, S, S, C] by modality to scores, float32 [N, 3]. ``detectors``: name → detector,
    used if the full images exist.
    """

    scorer: Scorer
    rule: CropRule
    modalities: tuple[str, ...]
    threshold: float
    detectors: Mapping[str, FaceDetector]
    seed: int = 0

    def run(
        self, pairs: PairDataset, scored: Scored, chosen: Sequence[int], tick: Callable[[int], None] = lambda n: None
    ) -> Robustness:
        """Score the ``chosen`` pairs at every step. ``scored``: result of `score_set`, for the metadata of the
        pairs."""
        plan = sweeps(self.modalities)
        rows, boxed = [], []
        for index in chosen:
            patch = pairs.patch(index) if isinstance(pairs, PatchSource) else None
            boxed.append(patch is not None)
            seen = self._cropped(pairs, index) if patch is None else self._kept(patch)
            rows.append(self.scores(plan, seen, index, has_pictures=boxed[-1]))
            tick(1)
        table, has_pictures = np.array(rows), np.array(boxed)
        species = [scored.species[i] for i in chosen]
        presentations = [scored.presentations[i] for i in chosen]
        points = _Points(table, has_pictures, species, presentations, self.threshold)
        _, counted = presentation_scores(np.zeros(len(chosen)), species, presentations)
        shown = has_pictures.any()
        curves = [points.curve(sweep, at) for sweep, at in _columns(plan) if shown or not sweep.needs_pictures]
        if self.detectors and shown:
            first = 1 + sum(len(s.values) - 1 for s in plan)
            curves.append(points.detector_curve([GIVEN, *self.detectors], [0, *range(first, table.shape[1])]))
        return Robustness(
            name=scored.name,
            threshold=self.threshold,
            pairs=len(chosen),
            with_pictures=int(has_pictures.sum()),
            presentations={name: counted.count(name) for name in dict.fromkeys(counted)},
            curves=tuple(curves),
            left_out=() if shown else (*(s.title for s in plan if s.needs_pictures), "Face detector"),
        )

    def scores(self, plan: Sequence[Sweep], patch: Patch, index: int, *, has_pictures: bool) -> NDArray[np.float64]:
        """Return the scores of one pair: unchanged, at each other step of ``plan``, and with the box of each detector.

        A score is NaN if there is no crop: a detector found no face, a box lies outside its image, or a sweep or
        detector needs full images that do not exist.
        """
        window = windowed(patch)
        views: list[dict[str, NDArray[Any]] | None] = [window.crops(self.rule)]
        for number, sweep in enumerate(plan):
            for step, value in enumerate(v for v in sweep.values if v != sweep.neutral):
                possible = has_pictures or not sweep.needs_pictures
                rng = np.random.default_rng([self.seed, index, number, step])
                views.append(self._crops(sweep.apply(window, value, rng)) if possible else None)
        views += [self._detected(patch, d) if has_pictures else None for d in self.detectors.values()]
        at = [k for k, view in enumerate(views) if view is not None]
        found = np.full(len(views), np.nan)
        for start in range(0, len(at), BATCH):
            part = at[start : start + BATCH]
            batch = {m: np.stack([cast("dict[str, Any]", views[k])[m] for k in part]) for m in self.modalities}
            found[part] = self.scorer(batch)[:, 0]
        return found

    def _crops(self, patch: Patch) -> dict[str, NDArray[Any]] | None:
        try:
            return patch.crops(self.rule)
        except InvalidFaceBox:
            return None

    def _detected(self, patch: Patch, detector: FaceDetector) -> dict[str, NDArray[Any]] | None:
        modalities = cast("tuple[Modality, ...]", self.modalities)
        pictures = patch.pictures
        pair = Pair(rgb=pictures.get("rgb"), ir=pictures.get("ir"), depth=pictures.get("depth"))
        try:
            found = find_face(pair, modalities, detector, KnownBoxes(patch.boxes))
        except NoFace:
            return None
        return self._crops(Patch(pictures, {m: found.boxes[m] for m in modalities}))

    def _kept(self, patch: Patch) -> Patch:
        return Patch({m: patch.pictures[m] for m in self.modalities}, {m: patch.boxes[m] for m in self.modalities})

    def _cropped(self, pairs: PairDataset, index: int) -> Patch:
        """Return the crops of a pair as if they were full images, with the box that gives the same crops."""
        sample = pairs[index]
        size = self.rule.size
        edge = size / (1 + 2 * self.rule.margin)
        box = Box((size - edge) / 2, (size - edge) / 2, edge, edge)
        return Patch({m: np.asarray(sample.crops[m]) for m in self.modalities}, dict.fromkeys(self.modalities, box))


def _columns(plan: Sequence[Sweep]) -> list[tuple[Sweep, list[int]]]:
    """Return each sweep with the columns of its values. All sweeps share the first column, which is the unchanged
    pair."""
    found, column = [], 1
    for sweep in plan:
        at = []
        for value in sweep.values:
            at.append(0 if value == sweep.neutral else column)
            column += value != sweep.neutral
        found.append((sweep, at))
    return found


@dataclass(frozen=True, slots=True)
class _Points:
    """Scores at all steps. ``table``: scores [pairs, steps]. ``has_pictures``: whether the full images exist, bool
    [pairs]."""

    table: NDArray[np.float64]
    has_pictures: NDArray[np.bool_]
    species: Sequence[str]
    presentations: Sequence[str]
    threshold: float

    def curve(self, sweep: Sweep, columns: Sequence[int]) -> Curve:
        rows = self.has_pictures if sweep.needs_pictures else np.ones(len(self.table), bool)
        points = [
            self.point(column, rows, sweep.label(value), value)
            for value, column in zip(sweep.values, columns, strict=True)
        ]
        return Curve(sweep.key, sweep.title, sweep.values.index(sweep.neutral), tuple(points))

    def detector_curve(self, names: Sequence[str], columns: Sequence[int]) -> Curve:
        points = [
            self.point(column, self.has_pictures, name, float(k))
            for k, (name, column) in enumerate(zip(names, columns, strict=True))
        ]
        return Curve("detector", "Face detector", 0, tuple(points))

    def point(self, column: int, rows: NDArray[np.bool_], label: str, value: float) -> Point:
        at = np.flatnonzero(rows).tolist()
        values, species = presentation_scores(
            self.table[at, column], [self.species[i] for i in at], [self.presentations[i] for i in at]
        )
        names = np.array(species)
        medians = {}
        for name in dict.fromkeys(species):
            own = values[(names == name) & ~np.isnan(values)]
            medians[name] = float(np.median(own)) if len(own) else math.nan
        return Point(label, value, rates(values, species, self.threshold), medians)
