"""Stills: path-traced pairs of people and attack instruments, rendered in advance and shipped with the package.

The simulated cameras render simpler figures, because they must keep up with a stream. The stills look like real people.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.capture.simulated.rig import SyntheticPair
from runtime.core.errors import ConfigError
from runtime.core.values import Box, Pair

FOLDER = Path(__file__).parent / "stills"
FACTS = "stills.json"


@functools.cache
def _facts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / FACTS).read_text(encoding="utf-8"))
    return found


def still_count(species: str) -> int:
    """Return the number of stills of a species."""
    return sum(name.rpartition("-")[0] == species for name in _facts())


def read_still(species: str, number: int) -> SyntheticPair:
    """Return still ``number`` of a species, counted from 0.

    Raises:
        ConfigError: this species has fewer stills.
    """
    name = f"{species}-{number}"
    facts = _facts().get(name)
    if facts is None:
        raise ConfigError(
            f"there are {still_count(species)} stills of {species}, and number {number} is not among them."
        )
    rgb = cv2.imread(str(FOLDER / f"{name}-rgb.jpg"), cv2.IMREAD_COLOR)
    ir = cv2.imread(str(FOLDER / f"{name}-ir.jpg"), cv2.IMREAD_GRAYSCALE)
    if rgb is None or ir is None:
        raise ConfigError(f"{FOLDER / name}-*.jpg cannot be read; install the package again.")
    return SyntheticPair(
        pair=Pair(
            rgb=np.ascontiguousarray(rgb[:, :, ::-1], np.uint8),
            ir=np.ascontiguousarray(ir[:, :, None], np.uint8),
            rgb_time_ns=0,
            ir_time_ns=0,
        ),
        species=species,
        face_box=Box(*facts["face_box"]),
        ir_face_box=Box(*facts["ir_face_box"]),
        conditions=facts["conditions"],
    )
