"""Track one face from pair to pair, so that the detector need not run on every pair.

The detector is the slowest stage after the network. Between two detector runs, the face is tracked by correlating a
small patch of it with the area around its last place. After a few pairs the detector must find the face again near its
last place. At longer intervals it searches the whole image, where other faces may have appeared. If the patch no longer
matches, the detector runs at once. A detected face that does not match the old one starts a new track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.check import Check
from runtime.core.errors import NoFace
from runtime.core.values import Box, Image, Modality, Pair
from runtime.face.detector import Face, FaceDetector
from runtime.face.fixed import FixedRegion
from runtime.face.pair_detection import (
    PairDetection,
    detect_again,
    face_count_check,
    find_face,
    searchable_modalities,
    square_around,
)
from runtime.geometry.box_mapping import BoxMapper, MappedBox

PATCH = 24
"""Edge in pixels of the square patch to which the middle of a face is resampled for tracking."""
INNER = 0.8
"""Edge of the area shown in the patch, as a fraction of the width of the box. Below 1, so that the patch shows less
background."""
SEARCH_MARGIN = 6
"""Search radius around the last place, in patch pixels: a fifth of the face box's width."""
MIN_DEVIATION = 4.0
"""Standard deviation in grey levels below which a patch has too little structure to be tracked."""


@dataclass(frozen=True, slots=True)
class TrackRule:
    """Settings of the tracker.

    ``search_near_every``: number of pairs after which the detector searches near the last place.
    ``search_whole_every``: number of pairs after which it searches the whole image. ``reach``: edge of the region near
    the last place, as a multiple of the edge of the face box. ``min_correlation``: minimum correlation with the
    detected face while tracking. ``new_face_correlation``: correlation with the old face below which a detection counts
    as a different face. ``max_gap_ns``: time without a pair after which the track is dropped. ``search_idle_every``:
    while there is no face, only one pair out of this many is searched, because each search covers two whole images.
    """

    search_near_every: int = 10
    search_whole_every: int = 60
    reach: float = 1.6
    min_correlation: float = 0.7
    new_face_correlation: float = 0.35
    max_gap_ns: int = 300_000_000
    search_idle_every: int = 3


@dataclass(frozen=True, slots=True)
class TrackOffset:
    """Difference between a detected box and the expected one.

    ``dx``, ``dy``: offset of the centre, as fractions of the expected width. ``zoom``: detected width divided by
    expected width.
    """

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0

    @classmethod
    def between(cls, expected: Box, detection: Box) -> TrackOffset:
        """Return the offset of ``detection`` from ``expected``."""
        edge = max(expected.w, 1e-6)
        return cls(
            (detection.x + detection.w / 2 - expected.x - expected.w / 2) / edge,
            (detection.y + detection.h / 2 - expected.y - expected.h / 2) / edge,
            detection.w / edge,
        )

    def apply(self, expected: Box) -> Box:
        """Return ``expected`` shifted and scaled by this offset."""
        w, h = expected.w * self.zoom, expected.h * self.zoom
        cx = expected.x + expected.w / 2 + self.dx * expected.w
        cy = expected.y + expected.h / 2 + self.dy * expected.w
        return Box(cx - w / 2, cy - h / 2, w, h)


@dataclass(frozen=True, slots=True)
class _Track:
    """State of a face tracked in the images of ``modality``.

    ``checks``: checks decided by the last detector run. ``offsets``: offsets found by that run in the other modalities.
    """

    modality: Modality
    face: Face
    patch: NDArray[np.uint8]
    checks: tuple[Check, ...]
    offsets: Mapping[Modality, TrackOffset]
    t_ns: int
    generation: int
    since_near: int = 0
    since_whole: int = 0


class Tracker:
    """Tracker of the face in a stream. Its `find` does for consecutive pairs what
    `runtime.face.pair_detection.find_face` does for single pairs. Not thread-safe.

    ``number``: number of the current track. It increases by one whenever the face cannot be shown to be the tracked
    one: with each new face, and with each search that finds one while there is no track. There is no track while
    several faces are in view, and never one of a `FixedRegion`, which cannot tell one person from another.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        detector: FaceDetector,
        box_mapper: BoxMapper,
        rule: TrackRule | None = None,
    ) -> None:
        self._modalities = tuple(modalities)
        self._detector, self._box_mapper = detector, box_mapper
        self._rule = rule or TrackRule()
        self._track: _Track | None = None
        self._idle = 0
        self.number = 0

    def reset(self) -> None:
        """Forget the tracked face."""
        self._track = None
        self._idle = 0

    def find(self, pair: Pair, t_ns: int) -> PairDetection:
        """Return the face in ``pair``, captured at ``t_ns``.

        Raises:
            ModalityMissing: the pair lacks an image. NoFace: no face was found.
        """
        rule, track = self._rule, self._track
        if track is not None and (pair.generation != track.generation or not 0 < t_ns - track.t_ns <= rule.max_gap_ns):
            track = self._track = None
        if track is not None:
            track = replace(track, t_ns=t_ns, since_near=track.since_near + 1, since_whole=track.since_whole + 1)
            if track.since_whole < rule.search_whole_every:
                detection = self._follow(pair, track) if track.since_near < rule.search_near_every else None
                detection = detection or self._search_near(pair, track)
                if detection is not None:
                    return detection
        if self._idle > 0:
            for modality in self._modalities:
                pair.image(modality)
            self._idle -= 1
            raise NoFace(
                "no face was found in a recent pair, so this one was not searched. A search follows within a few pairs."
            )
        return self._search_whole(pair, t_ns)

    def _follow(self, pair: Pair, track: _Track) -> PairDetection | None:
        """Track by correlation. Return None if the detector has to run."""
        face = follow_face(pair.image(track.modality), track.face, track.patch, self._rule.min_correlation)
        placed = None if face is None else self._placed(pair, track.modality, face)
        if face is None or placed is None:
            return None
        self._track = replace(track, face=face)
        return self._found(track.modality, face, placed, track.offsets, track.checks)

    def _search_near(self, pair: Pair, track: _Track) -> PairDetection | None:
        """Run the detector near the last place. Return None if it finds no face there."""
        image = pair.image(track.modality)
        region = square_around(image, track.face.box, self._rule.reach)
        if region is None:
            return None
        face = self._detector.detect(region[0], track.face.box.w * 0.6)
        if face is None:
            return None
        face = face.moved(region[1], region[2])
        placed = self._placed(pair, track.modality, face)
        if placed is None:
            return None
        checks, offsets = [face_count_check(face, self._detector)], {}
        for other in searchable_modalities(self._modalities):
            if other != track.modality:
                check, again = detect_again(pair, other, placed[other], self._detector)
                checks.append(check)
                # As in `find_face`, a second detection in the lead image only confirms the face; it does not move its
                # box.
                if again is not None and other != searchable_modalities(self._modalities)[0]:
                    offsets[other] = TrackOffset.between(placed[other].box, again.box)
        self._begin(pair, track.modality, face, tuple(checks), offsets, track.t_ns, track.since_whole)
        return self._found(track.modality, face, placed, offsets, tuple(checks))

    def _search_whole(self, pair: Pair, t_ns: int) -> PairDetection:
        try:
            detection = find_face(pair, self._modalities, self._detector, self._box_mapper)
        except NoFace:
            self._track = None
            self._idle = self._rule.search_idle_every - 1
            raise
        modality = detection.detected_in or detection.lead
        face = detection.face if modality == detection.lead else detection.face.onto(detection.boxes[modality])
        placed = self._placed(pair, modality, face) or {}
        offsets = {m: TrackOffset.between(there.box, detection.boxes[m]) for m, there in placed.items()}
        self._begin(pair, modality, face, detection.checks, offsets, t_ns, 0)
        return detection

    def _placed(self, pair: Pair, modality: Modality, face: Face) -> dict[Modality, MappedBox] | None:
        """Return the expected box of the face in each of the other images, or None if the box mapper cannot map it."""
        detection: dict[Modality, MappedBox] = {}
        for other in self._modalities:
            if other != modality:
                placed = self._box_mapper.map_box(face.box, modality, other, pair)
                if placed is None:
                    return None
                detection[other] = placed
        return detection

    def _found(
        self,
        modality: Modality,
        face: Face,
        placed: Mapping[Modality, MappedBox],
        offsets: Mapping[Modality, TrackOffset],
        checks: tuple[Check, ...],
    ) -> PairDetection:
        boxes = {m: offsets.get(m, TrackOffset()).apply(there.box) for m, there in placed.items()}
        boxes[modality] = face.box
        lead = searchable_modalities(self._modalities)[0]
        return PairDetection(face.onto(boxes[lead]), lead, modality, {m: boxes[m] for m in self._modalities}, checks)

    def _begin(
        self,
        pair: Pair,
        modality: Modality,
        face: Face,
        checks: tuple[Check, ...],
        offsets: Mapping[Modality, TrackOffset],
        t_ns: int,
        since_whole: int,
    ) -> None:
        """Start to track ``face``, either as the same face or as a new one."""
        before, self._track = self._track, None
        patch = face_patch(pair.image(modality), face.box)
        if (
            before is None
            or before.modality != modality
            or patch is None
            or patch_correlation(patch, before.patch) < self._rule.new_face_correlation
        ):
            self.number += 1
        # With several faces the detector must run on the next pair too, so that the gate passes again as soon as the
        # others have left. A fixed region cannot be tracked.
        if patch is not None and face.count == 1 and not isinstance(self._detector, FixedRegion):
            self._track = _Track(modality, face, patch, checks, offsets, t_ns, pair.generation, 0, since_whole)


def face_patch(image: Image, box: Box, slack: int = 0) -> NDArray[np.uint8] | None:
    """Return the middle of a face as a square grey patch, uint8, with an edge of `PATCH` + 2·``slack`` pixels.

    ``slack``: extra patch pixels on each side. Outside the image the edge values are repeated. Returns None if, across
    or down, less than half of the patch or fewer than 8 pixels lie inside the image, or if the patch has no structure.
    """
    scale = box.w * INNER / PATCH
    side = PATCH + 2 * slack
    cx, cy, half = box.x + box.w / 2, box.y + box.h / 2, scale * side / 2
    height, width = image.shape[:2]
    left, top, right, bottom = round(cx - half), round(cy - half), round(cx + half), round(cy + half)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 - x0 < max(8, (right - left) / 2) or y1 - y0 < max(8, (bottom - top) / 2):
        return None
    # Subsample first. A patch needs only few of the pixels, and this way a face that fills a large image costs no more
    # than any other.
    step = max(1, int(scale / 2))
    if (x1 - x0, y1 - y0) == (right - left, bottom - top):
        part: NDArray[Any] = np.ascontiguousarray(image[y0:y1:step, x0:x1:step])
    else:
        rows = np.clip(np.arange(top, bottom, step), y0, y1 - 1)
        columns = np.clip(np.arange(left, right, step), x0, x1 - 1)
        part = image[rows[:, None], columns]
    small = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.ndim == 3 and small.shape[2] == 3 else small
    flat = float(cv2.meanStdDev(grey)[1][0, 0]) < MIN_DEVIATION
    return None if flat else np.asarray(grey, np.uint8).reshape(side, side)


def follow_face(image: Image, face: Face, patch: NDArray[np.uint8], min_correlation: float) -> Face | None:
    """Return ``face`` at the place where its ``patch`` matches best, or None if nothing matches well enough."""
    area = face_patch(image, face.box, SEARCH_MARGIN)
    if area is None:
        return None
    map_ = cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(map_)
    # A best match at the rim may mean that the face has moved beyond the search radius.
    if not best >= min_correlation or column in (0, 2 * SEARCH_MARGIN) or row in (0, 2 * SEARCH_MARGIN):
        return None
    pixel = face.box.w * INNER / PATCH
    return face.moved(
        (column + _parabola_vertex(map_[row, column - 1 : column + 2]) - SEARCH_MARGIN) * pixel,
        (row + _parabola_vertex(map_[row - 1 : row + 2, column]) - SEARCH_MARGIN) * pixel,
    )


def _parabola_vertex(three: NDArray[Any]) -> float:
    """Return the position of the vertex of the parabola through three values.

    The position is relative to the middle value, which is the highest: −0.5 to 0.5.
    """
    a, b, c = (float(v) for v in three)
    bend = a - 2 * b + c
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (a - c) / (2 * bend)))


def patch_correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the correlation of two patches, −1 to 1: the highest over small shifts of the second patch."""
    edge = 3
    return float(cv2.matchTemplate(a, b[edge:-edge, edge:-edge], cv2.TM_CCOEFF_NORMED).max())
