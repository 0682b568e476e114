"""Following one face from pair to pair, so that the detector, the dearest part but the network, need not run on each.

Between two searches the face is followed by correlating its picture, small, with what is near its last place. That
never goes on for longer than a few pairs: the detector has to find the face again, near where it was, and every so
often in the whole picture, where others may have come in. What no longer looks like the face that was found is
searched for at once, and when what is found then is not it, it is another one's track.
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
from runtime.face.detector import Face, FaceLocator
from runtime.face.fixed import FixedRegion
from runtime.face.pair_detection import Found, count_check, find_face, leads, look_again, region_of
from runtime.geometry.box_mapping import Placed, Registrar

PATCH = 24
"""Edge of the small picture of a face, in its own pixels."""
INNER = 0.8
"""Part of the box that is in it: less background than the box has."""
SLACK = 6
"""How far a face is looked for around its last place, in pixels of the small picture: a fifth of its edge."""
FLAT = 4.0
"""Standard deviation of the small picture below which it is no pattern to follow."""


@dataclass(frozen=True, slots=True)
class TrackRule:
    """``near_every``: pairs after which the detector looks near the last place; ``whole_every``: in the whole picture.
    ``reach``: edge of the region near the last place, in face boxes. ``alike``: least correlation with the face as it
    was found for following it; ``other``: correlation below which a face found anew is another one. ``max_gap_ns``:
    time without a pair after which nothing is followed. ``idle_every``: where there was nobody, it is looked
    again so many pairs later, as two whole pictures are searched for nothing then."""

    near_every: int = 10
    whole_every: int = 60
    reach: float = 1.6
    alike: float = 0.7
    other: float = 0.35
    max_gap_ns: int = 300_000_000
    idle_every: int = 3


@dataclass(frozen=True, slots=True)
class Offset:
    """How a face's box in a picture differs from where it is expected there: of the centre, as a fraction of the
    expected edge, and ``zoom`` of the edge."""

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0

    @classmethod
    def between(cls, expected: Box, found: Box) -> Offset:
        """Return how ``found`` differs from ``expected``."""
        edge = max(expected.w, 1e-6)
        return cls(
            (found.x + found.w / 2 - expected.x - expected.w / 2) / edge,
            (found.y + found.h / 2 - expected.y - expected.h / 2) / edge,
            found.w / edge,
        )

    def apply(self, expected: Box) -> Box:
        """Return the box that differs so from ``expected``."""
        w, h = expected.w * self.zoom, expected.h * self.zoom
        cx = expected.x + expected.w / 2 + self.dx * expected.w
        cy = expected.y + expected.h / 2 + self.dy * expected.w
        return Box(cx - w / 2, cy - h / 2, w, h)


@dataclass(frozen=True, slots=True)
class _Track:
    """A face that is followed in the pictures of ``modality``. ``checks``: what its last search settled. ``offsets``:
    where that search found it in the others, against where it was expected."""

    modality: Modality
    face: Face
    patch: NDArray[np.uint8]
    checks: tuple[Check, ...]
    offsets: Mapping[Modality, Offset]
    t_ns: int
    epoch: int
    since_near: int = 0
    since_whole: int = 0


class Tracker:
    """The face of a stream: `find` is `runtime.face.pair_detection.find_face` for consecutive pairs. Not for several
    threads.

    ``number`` is another for every face that was followed.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        locator: FaceLocator,
        registrar: Registrar,
        rule: TrackRule | None = None,
    ) -> None:
        self._modalities = tuple(modalities)
        self._locator, self._registrar = locator, registrar
        self._rule = rule or TrackRule()
        self._track: _Track | None = None
        self._idle = 0
        self.number = 0

    def reset(self) -> None:
        """Forget the face."""
        self._track = None
        self._idle = 0

    def find(self, pair: Pair, t_ns: int) -> Found:
        """The face in ``pair``, taken at ``t_ns``.

        Raises:
            ModalityMissing: the pair lacks a picture. NoFace: there is none.
        """
        rule, track = self._rule, self._track
        if track is not None and (pair.epoch != track.epoch or not 0 < t_ns - track.t_ns <= rule.max_gap_ns):
            track = self._track = None
        if track is not None:
            track = replace(track, t_ns=t_ns, since_near=track.since_near + 1, since_whole=track.since_whole + 1)
            if track.since_whole < rule.whole_every:
                found = self._follow(pair, track) if track.since_near < rule.near_every else None
                found = found or self._search_near(pair, track)
                if found is not None:
                    return found
        if self._idle > 0:
            for modality in self._modalities:
                pair.image(modality)
            self._idle -= 1
            raise NoFace("there was no face in the pair before; the next ones are searched again.")
        return self._search_whole(pair, t_ns)

    def _follow(self, pair: Pair, track: _Track) -> Found | None:
        """By correlation, where that will do."""
        face = followed(pair.image(track.modality), track.face, track.patch, self._rule.alike)
        placed = None if face is None else self._placed(pair, track.modality, face)
        if face is None or placed is None:
            return None
        self._track = replace(track, face=face)
        return self._found(track.modality, face, placed, track.offsets, track.checks)

    def _search_near(self, pair: Pair, track: _Track) -> Found | None:
        """By the detector, near the last place; None when nothing is found there."""
        image = pair.image(track.modality)
        region = region_of(image, track.face.box, self._rule.reach)
        if region is None:
            return None
        face = self._locator.locate(region[0], track.face.box.w * 0.6)
        if face is None:
            return None
        face = face.moved(region[1], region[2])
        placed = self._placed(pair, track.modality, face)
        if placed is None:
            return None
        checks, offsets = [count_check(face, self._locator)], {}
        for other in leads(self._modalities):
            if other != track.modality:
                check, again = look_again(pair, other, placed[other], self._locator)
                checks.append(check)
                # The leading picture's box is that of the face which is told; see `find_face`.
                if again is not None and other != leads(self._modalities)[0]:
                    offsets[other] = Offset.between(placed[other].box, again.box)
        self._begin(pair, track.modality, face, tuple(checks), offsets, track.t_ns, track.since_whole)
        return self._found(track.modality, face, placed, offsets, tuple(checks))

    def _search_whole(self, pair: Pair, t_ns: int) -> Found:
        try:
            found = find_face(pair, self._modalities, self._locator, self._registrar)
        except NoFace:
            self._track = None
            self._idle = self._rule.idle_every - 1
            raise
        modality = found.seen_in or found.lead
        face = found.face if modality == found.lead else found.face.onto(found.boxes[modality])
        placed = self._placed(pair, modality, face) or {}
        offsets = {m: Offset.between(there.box, found.boxes[m]) for m, there in placed.items()}
        self._begin(pair, modality, face, found.checks, offsets, t_ns, 0)
        return found

    def _placed(self, pair: Pair, modality: Modality, face: Face) -> dict[Modality, Placed] | None:
        """Where the face is expected in the other pictures; None where the registrar cannot say."""
        found: dict[Modality, Placed] = {}
        for other in self._modalities:
            if other != modality:
                placed = self._registrar.place(face.box, modality, other, pair)
                if placed is None:
                    return None
                found[other] = placed
        return found

    def _found(
        self,
        modality: Modality,
        face: Face,
        placed: Mapping[Modality, Placed],
        offsets: Mapping[Modality, Offset],
        checks: tuple[Check, ...],
    ) -> Found:
        boxes = {m: offsets.get(m, Offset()).apply(there.box) for m, there in placed.items()}
        boxes[modality] = face.box
        lead = leads(self._modalities)[0]
        return Found(face.onto(boxes[lead]), lead, modality, {m: boxes[m] for m in self._modalities}, checks)

    def _begin(
        self,
        pair: Pair,
        modality: Modality,
        face: Face,
        checks: tuple[Check, ...],
        offsets: Mapping[Modality, Offset],
        t_ns: int,
        since_whole: int,
    ) -> None:
        """Follow ``face`` from here on, as the one before or as another."""
        before, self._track = self._track, None
        patch = small_picture(pair.image(modality), face.box)
        if (
            before is None
            or before.modality != modality
            or patch is None
            or likeness(patch, before.patch) < self._rule.other
        ):
            self.number += 1
        # Where several were seen, the next pair is searched again: it is a gate, and must not last longer than they do.
        # A fixed region is no face that could be followed.
        if patch is not None and face.count == 1 and not isinstance(self._locator, FixedRegion):
            self._track = _Track(modality, face, patch, checks, offsets, t_ns, pair.epoch, 0, since_whole)


def small_picture(image: Image, box: Box, slack: int = 0) -> NDArray[np.uint8] | None:
    """The middle of a face in grey, uint8 [`PATCH` + 2·``slack``]², or None where it lies outside the picture or has no
    structure. ``slack``: pixels more on each side, filled with the edge's values outside the picture."""
    scale = box.w * INNER / PATCH
    side = PATCH + 2 * slack
    cx, cy, half = box.x + box.w / 2, box.y + box.h / 2, scale * side / 2
    height, width = image.shape[:2]
    left, top, right, bottom = round(cx - half), round(cy - half), round(cx + half), round(cy + half)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 - x0 < max(8, (right - left) / 2) or y1 - y0 < max(8, (bottom - top) / 2):
        return None
    # A small picture needs no more than a few of the pixels, and takes them before anything else: a face that fills a
    # large picture costs no more than any other.
    step = max(1, int(scale / 2))
    if (x1 - x0, y1 - y0) == (right - left, bottom - top):
        part: NDArray[Any] = np.ascontiguousarray(image[y0:y1:step, x0:x1:step])
    else:
        rows = np.clip(np.arange(top, bottom, step), y0, y1 - 1)
        columns = np.clip(np.arange(left, right, step), x0, x1 - 1)
        part = image[rows[:, None], columns]
    small = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.ndim == 3 and small.shape[2] == 3 else small
    flat = float(cv2.meanStdDev(grey)[1][0, 0]) < FLAT
    return None if flat else np.asarray(grey, np.uint8).reshape(side, side)


def followed(image: Image, face: Face, patch: NDArray[np.uint8], alike: float) -> Face | None:
    """``face`` where it is now, by its small picture ``patch``; None where nothing is enough like it."""
    area = small_picture(image, face.box, SLACK)
    if area is None:
        return None
    map_ = cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(map_)
    # At the rim it may have gone further than was looked.
    if not best >= alike or column in (0, 2 * SLACK) or row in (0, 2 * SLACK):
        return None
    pixel = face.box.w * INNER / PATCH
    return face.moved(
        (column + _vertex(map_[row, column - 1 : column + 2]) - SLACK) * pixel,
        (row + _vertex(map_[row - 1 : row + 2, column]) - SLACK) * pixel,
    )


def _vertex(three: NDArray[Any]) -> float:
    """Where the parabola through three values, the middle one highest, has its vertex: −0.5 to 0.5."""
    a, b, c = (float(v) for v in three)
    bend = a - 2 * b + c
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (a - c) / (2 * bend)))


def likeness(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of two small pictures, the second shifted a little where that fits better: −1 to 1."""
    edge = 3
    return float(cv2.matchTemplate(a, b[edge:-edge, edge:-edge], cv2.TM_CCOEFF_NORMED).max())
