"""Pairs of two moments: for each bona fide sample, other samples of the same person in another pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

    def contradicting(self, indices: NDArray[np.int64], flipped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return bool [N, N]: where the image of one bona fide sample cannot belong to the image of another.

        They show different people, or poses at least `LEAST_DEG` apart. ``flipped`` [N]: samples that are mirrored,
        which changes the sign of yaw and roll. False for samples without a known pose.
        """
        names = [self._person.get(index) for index in indices.tolist()]
        people = np.unique([name or "" for name in names], return_inverse=True)[1]
        pose = self._pose[indices] * np.where(flipped[:, None], MIRROR_SIGNS, 1.0)
        away = np.linalg.norm(pose[:, None] - pose[None], axis=2)
        known = np.array([name is not None for name in names])
        different = (people[:, None] != people[None]) | (away >= LEAST_DEG)
        return np.asarray(different & known[:, None] & known[None])
