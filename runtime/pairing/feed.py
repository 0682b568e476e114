"""Where pairs come from, as whoever judges them sees it: a feed, its newest pair, and how its cameras are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.capture.status import CameraStatus
from runtime.core.values import Pair


@dataclass(frozen=True, slots=True)
class CapturedPair:
    """A pair of a feed. ``number`` grows by one with each; ``t_emitted_ns``: when it was complete, CLOCK_MONOTONIC."""

    number: int
    pair: Pair
    t_emitted_ns: int


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How a feed is. ``rejected``: reason → candidates that became no pair. ``strobe``: the illuminator in one word.
    ``advice``: why no pairs are formed, or soon may not be. ``recording``: the file that frames are written to, empty
    when none are."""

    cameras: tuple[CameraStatus, ...]
    pairs: int
    pairs_per_s: float
    last_pair_ns: int | None
    skew_ms: float | None
    rejected: Mapping[str, int] = field(default_factory=dict)
    strobe: str = "unknown"
    advice: str = ""
    recording: str = ""


class PairFeed(Protocol):
    """Pairs of a rig, newest wins. Several threads may wait for the same pair."""

    def start(self) -> None:
        """Open the cameras in threads of their own; returns at once."""
        ...

    def wait(self, after: int, timeout_s: float) -> CapturedPair | None:
        """The newest pair whose number is above ``after`` (-1: any), or None when there is none in time."""
        ...

    def status(self) -> FeedStatus: ...

    def close(self) -> None:
        """Stop. Never blocks on a camera that hangs for longer than two seconds."""
        ...
