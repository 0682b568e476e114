"""From a driver's timestamp to the middle of the exposure, or an admission that the stamp cannot be used."""

from __future__ import annotations

import logging
from typing import Literal

from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.kernel import Kernel
from runtime.core.values import TimestampSource

log = logging.getLogger(__name__)

TimestampChoice = Literal["auto", "start", "end", "arrival"]
TIMESTAMP_CHOICES: tuple[TimestampChoice, ...] = ("auto", "start", "end", "arrival")

OLDEST_NS = 2_000_000_000
"""A stamp this far before its frame's arrival is of another clock: no driver holds a frame back for longer."""
NEWEST_NS = 100_000_000
"""Drivers may stamp the planned end of a frame that they deliver early; the kernel's simulated camera does by 29 ms."""


def timestamp_edge(kernel: Kernel, driver: str, flags: int) -> Literal["start", "end"]:
    """Which end of the exposure a driver's stamps mark.

    The flag says, except for uvcvideo: it flags start of exposure, and unless loaded with ``hwtimestamps=1`` it takes
    the host's time when the first bytes of a frame arrive, which no camera sends before it has exposed them.
    """
    if driver == "uvcvideo" and kernel.parameter("uvcvideo", "hwtimestamps") not in ("1", "Y"):
        return "end"
    return "start" if flags & abi.TSTAMP_SRC_MASK == abi.TSTAMP_SRC_SOE else "end"


class TimestampMapper:
    """Judges the stamps of one stream. ``edge``: `timestamp_edge`, or what the operator knows better; None: use
    none."""

    def __init__(self, edge: Literal["start", "end"] | None, name: str) -> None:
        self._edge, self._name = edge, name
        self._last: int | None = None
        self._told = False

    def source(self, flags: int) -> TimestampSource:
        """Where times come from as long as nothing is wrong with them."""
        if self._edge is None or flags & abi.CLOCK_MASK != abi.CLOCK_MONOTONIC:
            return "arrival"
        return "kernel_soe" if self._edge == "start" else "kernel_eof"

    def capture(
        self, timestamp_ns: int, flags: int, arrival_ns: int, exposure_ns: int | None
    ) -> tuple[int, TimestampSource]:
        """Mid-exposure on CLOCK_MONOTONIC in ns, and where it comes from.

        With an unknown exposure the time is that of the stamp. A stamp of another clock, one that stands still or one
        that cannot be true gives way to the time of arrival, which is after the exposure too.
        """
        half = (exposure_ns or 0) // 2
        source = self.source(flags)
        fault = "" if self._edge is None else self._fault(timestamp_ns, flags, arrival_ns)
        if source == "arrival" or fault:
            if fault and not self._told:
                self._told = True
                log.warning(
                    "%s: %s, so frames are timed by their arrival, which is later and less steady. Pairs may be "
                    "refused for their skew; calibrate the stream's offset (adsn-calib offset).",
                    self._name,
                    fault,
                )
            return arrival_ns - half, "arrival"
        self._last = timestamp_ns
        return timestamp_ns + half if source == "kernel_soe" else timestamp_ns - half, source

    def _fault(self, timestamp_ns: int, flags: int, arrival_ns: int) -> str:
        clock = flags & abi.CLOCK_MASK
        if clock == abi.CLOCK_COPY:
            return "the driver's timestamps are copies of another device's"
        if clock != abi.CLOCK_MONOTONIC:
            return "the driver does not say by which clock it stamps"
        ahead = timestamp_ns - arrival_ns
        if not -OLDEST_NS <= ahead <= NEWEST_NS:
            where = "after" if ahead > 0 else "before"
            return f"the driver stamps {abs(ahead) / 1e9:.3f} s {where} arrival"
        if self._last is not None and timestamp_ns <= self._last:
            return "the driver's timestamps do not advance"
        return ""
