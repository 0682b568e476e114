"""Create pairs of images that do not belong together from the bona fide pairs of a test set (species `PAIR_MISMATCH`).

Each image on its own shows a living person. Together they imitate a replaced or frozen camera stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import PairDataset, Sample
from adsn.evaluation.evaluate import PAIR_MISMATCH, Scored, Scorer, score_set
from adsn.metrics import Rate
from runtime.core.species import BONA_FIDE

Kind = Literal["other_person", "other_moment", "warped"]
WORDS: Mapping[Kind, str] = {
    "other_person": "another person\u2019s",
    "other_moment": "the same person\u2019s, another moment",
    "warped": "the same image, warped",
}
"""Kind → human-readable description of the second image."""
POSE_AWAY = (8.0, 15.0)
"""Range of the head rotation between two images of different moments, in degrees, if poses are known."""
MOST = 200
"""Maximum number of pairs of each kind."""
TURN = (8.0, 15.0)
"""Range of the rotation of a warped image, in degrees."""
BEND = 0.03
"""Standard deviation of the displacements in a warped image, as a fraction of its edge."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A mismatched pair: the first image of sample ``first`` and the second image of sample ``second``. For the kind
    ``warped`` both are the same sample."""

    kind: Kind
    first: int
    second: int


def mismatches(scored: Scored, *, most: int = MOST) -> list[Mismatch]:
    """Choose up to ``most`` mismatched pairs of each kind from the bona fide samples of a set.

    Each presentation is the first image of at most one pair of each kind. Two moments are from two presentations; if
    the set has poses, they differ in pose by `POSE_AWAY`. Return an empty list if the set shows fewer than two people.
    """
    presented: dict[str, int] = {}
    for i, species in enumerate(scored.species):
        if species == BONA_FIDE:
            presented.setdefault(scored.presentations[i], i)
    rng = np.random.default_rng(0)
    people = rng.permutation(list(presented.values())).tolist()
    if len({scored.subjects[i] for i in people}) < 2:
        return []
    partners: dict[Kind, Callable[[int], int | None]] = {
        "other_person": lambda at: _other_person(scored, people, at),
        "other_moment": lambda at: _other_moment(scored, people, people[at]),
        "warped": lambda at: people[at],
    }
    found: list[Mismatch] = []
    for kind, partner in partners.items():
        seconds = ((first, partner(at)) for at, first in enumerate(people))
        made = (Mismatch(kind, first, second) for first, second in seconds if second is not None)
        found += islice(made, most)
    return found


def _other_person(scored: Scored, people: Sequence[int], at: int) -> int | None:
    """Return the next sample, in random order, that shows a different person."""
    own = scored.subjects[people[at]]
    others = (people[(at + step) % len(people)] for step in range(1, len(people)))
    return next((i for i in others if scored.subjects[i] != own), None)


def _other_moment(scored: Scored, people: Sequence[int], first: int) -> int | None:
    for i in people:
        if i == first or scored.subjects[i] != scored.subjects[first]:
            continue
        away = _angle(scored.conditions[first], scored.conditions[i])
        if away is None or POSE_AWAY[0] <= away <= POSE_AWAY[1]:
            return i
    return None


def _angle(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    """Return the head rotation between two images in degrees, or None if the poses are unknown."""
    if not all(name in each for name in ("yaw_deg", "pitch_deg") for each in (a, b)):
        return None
    return math.hypot(a["yaw_deg"] - b["yaw_deg"], a["pitch_deg"] - b["pitch_deg"])


class MismatchedPairs:
    """`PairDataset` of mismatched pairs from another set. ``modalities``: modality of the first and of the second
    image."""

    def __init__(self, pairs: PairDataset, chosen: Sequence[Mismatch], modalities: tuple[str, str]) -> None:
        self._pairs, self._chosen, self._modalities = pairs, list(chosen), modalities

    @property
    def name(self) -> str:
        return f"{self._pairs.name}, mismatched"

    def __len__(self) -> int:
        return len(self._chosen)

    def species(self) -> list[str]:
        """Return `PAIR_MISMATCH` for every pair."""
        return [PAIR_MISMATCH] * len(self)

    def __getitem__(self, index: int) -> Sample:
        what = self._chosen[index]
        a, b = self._modalities
        one = self._pairs[what.first]
        second = self._pairs[what.second].crops[b]
        if what.kind == "warped":
            second = warped(second, np.random.default_rng([0x3A, index]))
        return Sample(
            crops={a: one.crops[a], b: second},
            label=0,
            species=PAIR_MISMATCH,
            subject=one.subject,
            presentation=f"{what.kind}-{index}",
            sensor=one.sensor,
            conditions=one.conditions,
        )

    def digest(self) -> str:
        """Return the digest of the original set, which determines the pairs."""
        return self._pairs.digest()


def warped(crop: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return a crop [S, S, C] rotated and smoothly bent, like an image animated with the movement of another face."""
    size = crop.shape[0]
    angle = math.radians(float(rng.uniform(*TURN))) * float(rng.choice((-1, 1)))
    field = rng.normal(0, BEND * size, (2, 5, 5)).astype(np.float32)
    bend = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC) for plane in field]
    y, x = np.mgrid[:size, :size].astype(np.float32) - np.float32((size - 1) / 2)
    cos, sin, middle = np.float32(math.cos(angle)), np.float32(math.sin(angle)), np.float32((size - 1) / 2)
    at_x, at_y = cos * x - sin * y + middle + bend[0], sin * x + cos * y + middle + bend[1]
    # Interpolation between near and far depth would create a surface that does not exist.
    method = cv2.INTER_NEAREST if crop.dtype == np.float32 else cv2.INTER_LINEAR
    source: Any = np.ascontiguousarray(crop)
    moved = cv2.remap(source, at_x, at_y, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, crop.dtype).reshape(crop.shape)


def with_mismatches(
    scorer: Scorer,
    pairs: PairDataset,
    scored: Scored,
    modalities: tuple[str, ...],
    tick: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score the mismatched pairs of a set that is already ``scored``, and return the scores of both together."""
    chosen = mismatches(scored)
    if not chosen or len(modalities) != 2:
        return scored
    return scored.joined(score_set(scorer, MismatchedPairs(pairs, chosen, modalities), modalities, tick=tick))


def score_test_set(scorer: Scorer, pairs: PairDataset, modalities: tuple[str, ...]) -> Scored:
    """Score a test set and its mismatched pairs, and return both together."""
    return with_mismatches(scorer, pairs, score_set(scorer, pairs, modalities), modalities)


def rates_by_kind(scored: Scored, threshold: float) -> dict[Kind, Rate]:
    """Return the APCER of each kind of mismatched pair in a set, or an empty dict without such pairs."""
    found: dict[Kind, Rate] = {}
    for kind in WORDS:
        own = np.array([
            species == PAIR_MISMATCH and presentation.startswith(f"{kind}-")
            for species, presentation in zip(scored.species, scored.presentations, strict=True)
        ])  # fmt: skip
        if own.any():
            found[kind] = scored.part(kind, own).report(threshold).apcer[PAIR_MISMATCH]
    return found
