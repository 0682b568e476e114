"""Wait for the next pair of the attached rig, off the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runtime.core.errors import NotReady, Overloaded
from runtime.core.values import Pair
from runtime.geometry.box_mapping import BoxMapper
from runtime.pairing.feed import FeedStatus, PairFeed
from service.http.problem_document import camera_views
from service.http.problems import RequestError
from service.liveness.rig_box_mapper import RigBoxMapper

SLICE_S = 0.5
"""Interval at which a waiting request checks whether the service is stopping."""
WAITERS = 16
"""Maximum number of requests waiting for the rig. Each waits in a thread, because a feed's `wait` blocks."""


@dataclass(frozen=True, slots=True)
class MappedPair:
    """A pair and the box mapper between its two images."""

    pair: Pair
    box_mapper: BoxMapper


class RigPairSource:
    """Source of pairs from the attached rig. ``feed``: None without a rig. ``geometry``: calibration file of the
    rig."""

    def __init__(self, feed: PairFeed | None, geometry: Path | None = None) -> None:
        self._feed = feed
        self._box_mapper = RigBoxMapper(geometry)
        self._waiting = 0
        self._stopping = False
        self._executor = ThreadPoolExecutor(WAITERS, "adsn-camera") if feed is not None else None

    async def next_pair(self, timeout_s: float) -> MappedPair:
        """Wait for the first pair that becomes complete after this call, and return it.

        Raises:
            RequestError: 503 without a rig; 504, with the status of the cameras, if there is no pair in time.
            CalibrationInvalid: the rig's geometry is damaged, or belongs to other cameras.
            Overloaded: too many requests are waiting.
        """
        feed = self._feed
        if feed is None or self._executor is None:
            raise RequestError(503, "no_rig", "no cameras are attached. Upload a pair, or configure the section [rig].")
        if self._waiting >= WAITERS:
            raise Overloaded("too many requests are waiting for the cameras. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._next, feed, timeout_s)
        finally:
            self._waiting -= 1

    def _next(self, feed: PairFeed, timeout_s: float) -> MappedPair:
        # A pair from before the request may show a person who has left.
        newest = feed.wait(-1, 0)
        after, captured = -1 if newest is None else newest.number, None
        until = time.monotonic() + timeout_s
        while captured is None and (left := until - time.monotonic()) > 0:
            if self._stopping:
                raise NotReady("the service is stopping.")
            captured = feed.wait(after, min(left, SLICE_S))
        status = feed.status()
        if captured is None:
            raise timed_out(status, timeout_s)
        return MappedPair(captured.pair, self._box_mapper.of(status))

    def stop(self) -> None:
        """Refuse waiting requests, because a service that is stopping has no time to wait for cameras."""
        self._stopping = True


def timed_out(status: FeedStatus, timeout_s: float) -> RequestError:
    """Return the error for a request that did not get a pair in time."""
    return RequestError(
        504,
        "capture_timeout",
        f"the cameras delivered no pair within {timeout_s:g} seconds. {status.advice}".rstrip(),
        cameras=camera_views(status),
        advice=status.advice,
    )
