"""Species of presentation attack instrument (ISO/IEC 30107-3) known to the sensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synthetic.instruments.masks import mask_rigid, mask_silicone
from synthetic.instruments.presented import Presented
from synthetic.instruments.prints import print_matte, print_toner, print_vinyl
from synthetic.instruments.screens import replay_screen
from synthetic.instruments.worn import mask_paper, partial, print_cutout
from synthetic.people.attributes import Attributes
from synthetic.people.shape import HeadShape

Maker = Callable[[HeadShape, int, int, Attributes, float, np.random.Generator], Presented]
INSTRUMENTS: dict[str, Maker] = {
    "print_matte": print_matte,
    "print_toner": print_toner,
    "print_vinyl": print_vinyl,
    "print_cutout": print_cutout,
    "replay_screen": replay_screen,
    "mask_paper": mask_paper,
    "mask_rigid": mask_rigid,
    "mask_silicone": mask_silicone,
    "partial": partial,
}
"""Species → function that makes its presentation from head shape, subject, presentation, attributes, paint pitch in mm
and generator."""
PATH_TRACED_ONLY = ("mask_transparent", "mask_relief")
"""Species that only the path tracer renders: a clear mask needs reflection and transmission by angle, and a 2.5-D mask
a print on a relief."""
HELD = frozenset({"print_matte", "print_toner", "print_vinyl", "replay_screen"})
"""Species that are held up; the others are worn."""
PICTURED = HELD | {"print_cutout", "mask_paper", "partial", "mask_relief"}
"""Species made from a picture of the subject; only few pictures are in circulation."""
