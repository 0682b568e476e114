"""Pair feed: the newest pair and the status of its cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.capture.status import CameraStatus
from runtime.core.values import Pair


@dataclass(frozen=True, slots=True)
class CapturedPair:
    """A pair from a feed. ``number``: running number of the pair. ``t_emitted_ns``: CLOCK_MONOTONIC time at which it
    was complete."""

    number: int
    pair: Pair
    t_emitted_ns: int


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """Status of a feed. ``rejected``: reason → number of frames without a pair. ``strobe``: state of the illuminator in
    one word. ``advice``: why no pairs are formed, or may soon not be. ``recording``: file that frames are being written
    to; empty if nothing is recorded."""

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
    """Source of a rig's pairs that keeps only the newest one. Several threads may wait for the same pair."""

    def start(self) -> None:
        """Start a thread for each camera, which opens it, and return at once."""
        ...

    def wait(self, after: int, timeout_s: float) -> CapturedPair | None:
        """Return the newest pair whose number is above ``after`` (-1: any pair), or None after ``timeout_s``."""
        ...

    def status(self) -> FeedStatus: ...

    def close(self) -> None:
        """Stop the cameras within two seconds, even if one of them hangs."""
        ...
