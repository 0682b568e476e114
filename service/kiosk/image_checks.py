"""What a camera's pictures say of the camera: the same one again and again, or nothing in them.

No sensor gives the same picture twice: noise differs in every exposure. One that repeats is stuck in a buffer, or fed
in. A picture without any structure comes from behind a lid, a hand or a shutter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import MODALITIES, Modality, Pair

STEP = 8
"""Every eighth row and column is looked at: a hundredth of a millisecond for each picture."""
REPEATS = 5
FLAT_LEVELS = 3.0
"""Standard deviation in grey levels. A shutter gave 0 and a lens covered under its emitter a flat 255, where rooms in
infrared gave tens (Howdy's and irlume's reports)."""
FLAT_NS = 1_000_000_000


class FrozenImageWatch:
    """Compares each pair with the last. Not for several threads."""

    def __init__(self) -> None:
        self._last: dict[Modality, NDArray[Any]] = {}
        self._repeats: dict[Modality, int] = {}
        self._flat_since: dict[Modality, int] = {}
        self._generation = -1

    def repeated(self, pair: Pair) -> tuple[Modality, ...]:
        """Modalities whose picture is the very same as in the pair before."""
        if pair.generation != self._generation:
            self._last.clear()
            self._repeats.clear()
            self._generation = pair.generation
        found: list[Modality] = []
        for modality in MODALITIES:
            image: NDArray[Any] | None = getattr(pair, modality)
            if image is None:
                continue
            # A copy of a part: sources may use a buffer again, and with noise a part differs as surely as the whole.
            part = image[::STEP, ::STEP].copy()
            last = self._last.get(modality)
            # A black picture in the dark repeats by right.
            same = last is not None and np.array_equal(last, part) and part.min() != part.max()
            self._repeats[modality] = self._repeats.get(modality, 0) + 1 if same else 0
            if same:
                found.append(modality)
            self._last[modality] = part
        return tuple(found)

    def findings(self, pair: Pair, now_ns: int) -> Mapping[tuple[str, str], str]:
        """(condition, modality) → detail. To be asked after `repeated`, once for each pair.

        Flat colour is not listed: a room may be dark, and infrared leads then.
        """
        found: dict[tuple[str, str], str] = {}
        for modality, repeats in self._repeats.items():
            if repeats >= REPEATS:
                found["camera_frozen", modality] = f"the {modality} camera gives the same picture again and again."
        flat = pair.ir is not None and float(pair.ir[::STEP, ::STEP].std()) < FLAT_LEVELS
        if not flat:
            self._flat_since.pop("ir", None)
        elif now_ns - self._flat_since.setdefault("ir", now_ns) >= FLAT_NS:
            found["camera_covered", "ir"] = "the ir camera sees nothing but one level: is it covered, or shut?"
        return found
