"""Frames without images, for the tests and the benchmark of pairing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from runtime.core.units import MS
from runtime.core.values import Frame, IlluminationState, Modality
from runtime.pairing.pairer import MatchedFrames, Pairer

PERIOD = 33_333_333
_NOTHING = np.zeros((1, 1, 1), np.uint8)


def frame(
    modality: Modality,
    time_ns: int,
    *,
    lit: IlluminationState = "lit",
    generation: int = 0,
    seq: int | None = None,
    delay_ns: int = 8 * MS,
) -> Frame:
    """Return a frame captured at ``time_ns`` that arrives ``delay_ns`` later."""
    state: IlluminationState = lit if modality == "ir" else "unknown"
    return Frame(modality, _NOTHING, time_ns, time_ns + delay_ns, seq, "synthetic", lit=state, generation=generation)


def stream(
    modality: Modality,
    times: Iterable[int],
    *,
    lit: IlluminationState = "lit",
    generation: int = 0,
    delay_ns: int = 8 * MS,
) -> list[Frame]:
    """Return frames captured at ``times``."""
    return [
        frame(modality, time, lit=lit, generation=generation, seq=number, delay_ns=delay_ns)
        for number, time in enumerate(times)
    ]


def regular(modality: Modality, count: int, *, period: int = PERIOD, start: int = 0, **rest: int) -> list[Frame]:
    """Return ``count`` frames at one rate."""
    return stream(modality, (start + k * period for k in range(count)), **rest)  # type: ignore[arg-type]


def by_arrival(*streams: Sequence[Frame]) -> list[Frame]:
    """Return the frames of several streams in arrival order, as a rig gets them. On a tie, the first stream comes
    first."""
    return sorted((f for one in streams for f in one), key=lambda f: f.t_arrival_ns)


def push_all(pairer: Pairer, frames: Iterable[Frame]) -> list[MatchedFrames]:
    """Push frames one after another, and return the matches."""
    return [match for one in frames for match in pairer.push(one)]


def times(matches: Iterable[MatchedFrames]) -> list[tuple[int, int]]:
    """Return the capture times of both frames of every match."""
    return [(m.first.t_capture_ns, m.second.t_capture_ns) for m in matches]
