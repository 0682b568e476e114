"""Pairs of two moments: for each bona fide sample, other samples of the same person in another pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import BONA_FIDE

LEAST_DEG = 8.0
"""Smallest angle between the two poses. Two cameras 40 mm apart see a face 300 mm away at yaws that differ by up to 8°.
Poses closer than that could belong to one real pair."""
MOST_DEG = 40.0
POSE = ("yaw_deg", "pitch_deg", "roll_deg")
MIRROR_SIGNS = np.array([-1.0, 1.0, -1.0])
"""Sign of each angle of `POSE` in a mirrored image."""


class Shown(NamedTuple):
    """Who each of N samples shows, and how.

    ``person`` int64 [N], -1 for an attack or an unknown pose; ``pose`` float64 [N, 3] in degrees, see `POSE`;
    ``source`` int64 [N]: which of several mixed sets the sample comes from.
    """

    person: NDArray[np.int64]
    pose: NDArray[np.float64]
    source: NDArray[np.int64]

    def contradicts(self, other: Shown) -> NDArray[np.bool_]:
        """Return bool [N, M]: where the image of one sample cannot belong to the image of one of M others.

        They show different people, or poses at least `LEAST_DEG` apart. Samples of two sources never contradict: a
        difference between renderers or cameras would be too easy a cue.
        """
        away = np.linalg.norm(self.pose[:, None] - other.pose[None], axis=2)
        different = (self.person[:, None] != other.person[None]) | (away >= LEAST_DEG)
        known = (self.person >= 0)[:, None] & (other.person >= 0)[None]
        return np.asarray(different & known & (self.source[:, None] == other.source[None]))

    def chosen(self, which: NDArray[np.bool_]) -> Shown:
        """Return the samples of the mask ``which`` [N]."""
        return Shown(self.person[which], self.pose[which], self.source[which])

    def followed_by(self, other: Shown) -> Shown:
        """Return these samples and then the others."""
        return Shown(
            np.concatenate([self.person, other.person]),
            np.concatenate([self.pose, other.pose]),
            np.concatenate([self.source, other.source]),
        )


class OtherMoments:
    """Index that finds, for a bona fide sample, other samples of the same person in another pose.

    ``rows``: a set's samples without images, see `adsn.datasets.cache.CachedPairs.rows`; samples without a known pose
    have no partner.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._by_person: dict[str, list[int]] = {}
        self._pose = np.full((len(rows), len(POSE)), np.nan)
        for index, row in enumerate(rows):
            conditions = row["conditions"]
            if row["species"] == BONA_FIDE and all(name in conditions for name in POSE):
                self._by_person.setdefault(str(row["subject"]), []).append(index)
                self._pose[index] = [conditions[name] for name in POSE]
        self._person = {index: person for person, own in self._by_person.items() for index in own}
        numbers = {person: number for number, person in enumerate(self._by_person)}
        self._number = {index: numbers[person] for index, person in self._person.items()}

    def partner(self, index: int, rng: np.random.Generator) -> int | None:
        """Draw another sample of the same person, `LEAST_DEG` to `MOST_DEG` away in pose; None if no sample fits."""
        person = self._person.get(index)
        if person is None:
            return None
        own = np.array(self._by_person[person])
        away = np.linalg.norm(self._pose[own] - self._pose[index], axis=1)
        fitting = own[(away >= LEAST_DEG) & (away <= MOST_DEG)]
        return int(rng.choice(fitting)) if len(fitting) else None

    def swapped(
        self, indices: NDArray[np.int64], probability: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Replace some of ``indices`` [N] by partners; return the new indices and where they changed, bool [N]."""
        new, changed = indices.copy(), np.zeros(len(indices), bool)
        for at in np.flatnonzero(rng.uniform(size=len(indices)) < probability).tolist():
            found = self.partner(int(indices[at]), rng)
            if found is not None:
                new[at], changed[at] = found, True
        return new, changed

    def with_siblings(self, indices: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return ``indices`` [N] with some bona fide samples replaced by siblings.

        The bona fide samples are taken two by two. With probability ``share``, the second is replaced by another sample
        of the first one's person, in another pose. Up to ``share`` of the bona fide samples then have a sibling.
        """
        new = indices.copy()
        known = [at for at, index in enumerate(indices.tolist()) if index in self._person]
        for one, other in zip(known[::2], known[1::2], strict=False):
            partner = self.partner(int(new[one]), rng) if rng.uniform() < share else None
            if partner is not None:
                new[other] = partner
        return new

    def shown(
        self, indices: NDArray[np.int64], flipped: NDArray[np.bool_], source: NDArray[np.int64] | None = None
    ) -> Shown:
        """Return who ``indices`` [N] show. ``flipped`` [N]: samples that are mirrored, which changes the sign of yaw
        and roll. Without ``source``, all samples come from one."""
        person = np.array([self._number.get(index, -1) for index in indices.tolist()], np.int64)
        pose = self._pose[indices] * np.where(flipped[:, None], MIRROR_SIGNS, 1.0)
        return Shown(person, pose, np.zeros(len(indices), np.int64) if source is None else source)
