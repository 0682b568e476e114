"""Detect frozen and covered cameras from their frames.

Noise makes every exposure different, so an identical frame means a stuck buffer or injected frames. A frame without any
structure means that a lid, a hand or a shutter covers the lens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import MODALITIES, Modality, Pair

STEP = 8
"""Only every `STEP`-th row and column is compared, which takes 0.01 ms per frame."""
REPEATS = 5
FLAT_LEVELS = 3.0
"""Standard deviation in grey levels below which a frame counts as flat. A closed shutter gives 0. So does a covered
lens next to its emitter, whose frame is 255 everywhere. IR frames of rooms have tens (reports from users of Howdy and
irlume)."""
FLAT_NS = 1_000_000_000


class FrozenImageWatch:
    """Watch for frozen and flat frames that compares each pair with the previous one. Not thread-safe."""

    def __init__(self) -> None:
        self._last: dict[Modality, NDArray[Any]] = {}
        self._repeats: dict[Modality, int] = {}
        self._flat_since: dict[Modality, int] = {}
        self._generation = -1

    def repeated(self, pair: Pair) -> tuple[Modality, ...]:
        """Return the modalities whose frame is identical to the one in the previous pair."""
        if pair.generation != self._generation:
            self._last.clear()
            self._repeats.clear()
            self._generation = pair.generation
        found: list[Modality] = []
        for modality in MODALITIES:
            image: NDArray[Any] | None = getattr(pair, modality)
            if image is None:
                continue
            # Copied, because sources reuse buffers. A part of the frame is enough, because noise is everywhere.
            part = image[::STEP, ::STEP].copy()
            last = self._last.get(modality)
            # A uniform frame, such as black in the dark, may repeat legitimately.
            same = last is not None and np.array_equal(last, part) and part.min() != part.max()
            self._repeats[modality] = self._repeats.get(modality, 0) + 1 if same else 0
            if same:
                found.append(modality)
            self._last[modality] = part
        return tuple(found)

    def conditions(self, pair: Pair, now_ns: int) -> Mapping[tuple[str, str], str]:
        """Return (condition, modality) → detail. Call it after `repeated`, once for each pair.

        A flat RGB frame is not reported, because the room may be dark. The face is then found in IR.
        """
        found: dict[tuple[str, str], str] = {}
        for modality, repeats in self._repeats.items():
            if repeats >= REPEATS:
                found["camera_frozen", modality] = f"the {modality} camera delivers the same frame again and again."
        flat = pair.ir is not None and float(pair.ir[::STEP, ::STEP].std()) < FLAT_LEVELS
        if not flat:
            self._flat_since.pop("ir", None)
        elif now_ns - self._flat_since.setdefault("ir", now_ns) >= FLAT_NS:
            found["camera_covered", "ir"] = "the ir camera's frames are uniform. Check for a cover or a closed shutter."
        return found
