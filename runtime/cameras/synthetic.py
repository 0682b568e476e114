"""The synthetic rig: a simulated person or attack instrument in front of a simulated RGB and infrared camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import synthetic
from runtime.values import Box, Image, Pair

SPECIES: tuple[str, ...] = synthetic.SPECIES
FAMILIES: tuple[str, ...] = synthetic.FAMILIES
FRAME_NS = 33_333_333
"""Both simulated cameras run at 30 frames a second."""


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """A simulated pair and what only a simulation knows of it."""

    pair: Pair
    species: str
    face_box: Box
    ir_face_box: Box
    conditions: Mapping[str, float]


class SyntheticRig:
    """Full frames of one subject, one frame after another. The same arguments give the same frames.

    ``species``: see `SPECIES`. ``family``: one of two disjoint families of camera parameters.
    """

    def __init__(
        self, *, seed: int, subject: int, species: str = "bona_fide", family: str = "A", presentation: int = 0
    ) -> None:
        self._seed, self._subject, self._presentation = seed, subject, presentation
        self._species, self._family = species, family
        self._frame = 0

    def next(self) -> SyntheticPair:
        """Render the next pair."""
        rendered = synthetic.render_frame(
            seed=self._seed,
            subject=self._subject,
            presentation=self._presentation,
            species=self._species,
            family=self._family,
            frame=self._frame,
        )
        time_ns = self._frame * FRAME_NS
        self._frame += 1
        return SyntheticPair(
            pair=Pair(rgb=rendered.rgb, ir=rendered.ir, rgb_time_ns=time_ns, ir_time_ns=time_ns),
            species=rendered.species,
            face_box=Box(*rendered.box),
            ir_face_box=Box(*rendered.ir_box),
            conditions=rendered.conditions,
        )


def contact_sheet(columns: int, seed: int, family: str) -> Image:
    """All species in rows, ``columns`` samples of each in all modalities: uint8 RGB [H, W, 3]."""
    return synthetic.contact_sheet(columns=columns, seed=seed, family=family)
