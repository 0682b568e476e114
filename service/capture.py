"""The attached rig's next pair, waited for off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runtime.errors import Overloaded
from runtime.feed import CapturedPair, FeedStatus, PairFeed
from service.problems import RequestError

WAITERS = 16
"""Requests that may wait for the rig at once; each waits in a thread, because a feed's `wait` blocks."""


class Camera:
    """Waits for pairs of ``feed``, None where no rig is attached."""

    def __init__(self, feed: PairFeed | None) -> None:
        self._feed = feed
        self._waiting = 0
        self._executor = ThreadPoolExecutor(WAITERS, "adsn-camera") if feed is not None else None

    async def next_pair(self, timeout_s: float) -> CapturedPair:
        """The first pair that is complete after this call.

        Raises:
            RequestError: 503 without a rig, 504 when none came in time, with how the cameras are.
            Overloaded: too many wait already.
        """
        feed = self._feed
        if feed is None or self._executor is None:
            raise RequestError(
                503, "no_rig", "no cameras are attached to this service. Upload a pair, or configure [rig]."
            )
        if self._waiting >= WAITERS:
            raise Overloaded("too many requests wait for the cameras already. Try again in a moment.")
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, _next, feed, timeout_s)
        finally:
            self._waiting -= 1
        if found is None:
            status = feed.status()
            raise RequestError(
                504,
                "capture_timeout",
                f"the cameras gave no pair within {timeout_s:g} seconds. {status.advice}".rstrip(),
                cameras=camera_views(status),
                advice=status.advice,
            )
        return found


def _next(feed: PairFeed, timeout_s: float) -> CapturedPair | None:
    # A pair from before the request may show somebody who has left.
    newest = feed.wait(-1, 0)
    return feed.wait(-1 if newest is None else newest.number, timeout_s)


def camera_views(status: FeedStatus) -> list[dict[str, Any]]:
    """How each camera is, as `service.contract.CameraView`."""
    return [
        {"modality": camera.modality, "state": camera.state, "error": camera.last_error_code}
        for camera in status.cameras
    ]
