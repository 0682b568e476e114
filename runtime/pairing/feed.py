"""Pair feed: the newest pair and the status of its cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.capture.status import CameraStatus
from runtime.core.values import Pair


@dataclass(frozen=True, slots=True)
class CapturedPair:
    """A pair of a feed. ``number``: counts the pairs. ``t_emitted_ns``: when it was complete, CLOCK_MONOTONIC."""

    number: int
    pair: Pair
    t_emitted_ns: int


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """Status of a feed. ``rejected``: reason → frames that ended in no pair. ``strobe``: the illuminator in one word.
    ``advice``: why no pairs are formed, or soon may not be. ``recording``: the file that frames are written to; empty
    without a recording."""

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
    """A rig's pairs; only the newest is kept. Several threads may wait for the same pair."""

    def start(self) -> None:
        """Open the cameras in threads of their own; returns at once."""
        ...

    def wait(self, after: int, timeout_s: float) -> CapturedPair | None:
        """Return the newest pair whose number is above ``after`` (-1: any), or None if none comes in time."""
        ...

    def status(self) -> FeedStatus: ...

    def close(self) -> None:
        """Stop. Takes at most two seconds, even if a camera hangs."""
        ...
