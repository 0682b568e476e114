"""The synthetic rig: a simulated person or attack instrument in front of a simulated RGB and infrared camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import synthetic
from runtime.errors import ConfigError
from runtime.values import Box, Image, Pair

SPECIES: tuple[str, ...] = synthetic.SPECIES
FAMILIES: tuple[str, ...] = synthetic.FAMILIES
SHAPES: tuple[str, ...] = synthetic.SHAPES
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

    ``species``: see `SPECIES`. ``family``: one of two disjoint families of camera parameters. ``shape``: see `SHAPES`;
    scan-derived heads need the ICT Face Model, analytic ones nothing.

    Raises:
        ConfigError: scan-derived heads without the face model.
    """

    def __init__(
        self,
        *,
        seed: int,
        subject: int,
        species: str = "bona_fide",
        family: str = "A",
        presentation: int = 0,
        shape: str = "analytic",
    ) -> None:
        require_shape(shape)
        self._shape = shape
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
            shape=self._shape,
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


def require_shape(shape: str) -> None:
    """Make sure that heads of this shape can be rendered.

    Raises:
        ConfigError: an unknown shape, or one without its model.
    """
    if shape not in SHAPES:
        raise ConfigError(f"unknown head shape {shape!r}; there are {', '.join(SHAPES)}.")
    if shape == "scan":
        try:
            synthetic.load_face_model()
        except synthetic.FaceModelError as error:
            raise ConfigError(str(error)) from error


def contact_sheet(columns: int, seed: int, family: str, shape: str = "analytic") -> Image:
    """All species in rows, ``columns`` samples of each in all modalities: uint8 RGB [H, W, 3]."""
    require_shape(shape)
    return synthetic.contact_sheet(columns=columns, seed=seed, family=family, shape=shape)
