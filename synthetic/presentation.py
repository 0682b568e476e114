"""Key of a presentation: the numbers and names from which both renderers draw everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthetic.instruments.portrait import picture_key
from synthetic.instruments.species import INSTRUMENTS, PATH_TRACED_ONLY, PICTURED
from synthetic.people.attributes import MEDICAL_MASKS, Attributes, draw_attributes, draw_medical_mask
from synthetic.sensor.camera import FAMILIES

BONA_FIDE = "bona_fide"
SPECIES: tuple[str, ...] = (BONA_FIDE, *INSTRUMENTS)
"""Species that both renderers know."""
PATH_TRACED_SPECIES: tuple[str, ...] = (*SPECIES, *PATH_TRACED_ONLY)
"""Species that the path tracer knows. New ones go to the end: a species' place is part of the seed of its draws."""
MASK_DRAW = 0x54
"""First number of the seed for medical masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """A presentation to render: the same values give the same pixels on one machine.

    ``number``: which of the subject's presentations. ``frame``: which of its frames, 30 per second. ``attributes``:
    replace the drawn attributes, all else unchanged.

    Raises:
        ValueError: an unknown species or family, or a negative number.

    The fast renderer refuses the species of `PATH_TRACED_ONLY`.
    """

    seed: int
    subject: int
    species: str = BONA_FIDE
    family: str = FAMILIES[0]
    number: int = 0
    frame: int = 0
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        if self.species not in PATH_TRACED_SPECIES:
            raise ValueError(f"unknown species {self.species!r}; there are {', '.join(PATH_TRACED_SPECIES)}")
        if self.family not in FAMILIES:
            raise ValueError(f"unknown sensor family {self.family!r}; there are {', '.join(FAMILIES)}")
        if min(self.seed, self.subject, self.number, self.frame) < 0:
            raise ValueError("seed, subject, number and frame must not be negative")

    @property
    def bona_fide(self) -> bool:
        """Whether a living person is before the cameras."""
        return self.species == BONA_FIDE

    @property
    def key(self) -> list[int]:
        """Seed of this presentation's own draws, the same for all its frames."""
        place = PATH_TRACED_SPECIES.index(self.species)
        return [self.seed, self.subject, place, FAMILIES.index(self.family), self.number]


def attributes_of(presentation: Presentation) -> Attributes:
    """Return a presentation's attributes: its own, or drawn in the same way for every species."""
    if presentation.attributes is not None:
        return presentation.attributes
    if presentation.species in PICTURED:
        # Few pictures of a person are in circulation, and all copies of a picture show the same attributes.
        picture = picture_key(presentation.subject, presentation.number)
        key, mask_key = picture, [MASK_DRAW, *picture]
    else:
        key, mask_key = [*presentation.key, 3], [MASK_DRAW, *presentation.key]
    worn = draw_attributes(np.random.default_rng(key))
    # The medical mask has a generator of its own, so that it leaves the other draws as they were without it.
    rng = np.random.default_rng(mask_key)
    wears = bool(rng.uniform() < MEDICAL_MASKS)
    mask = draw_medical_mask(rng)
    return replace(worn, medical_mask=mask) if wears else worn
