"""Convert a driver's timestamp to the middle of the exposure, and detect timestamps that cannot be used."""

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
"""Longest plausible time from a timestamp to the arrival of its frame. No driver holds a frame back for longer, so an
older timestamp is on a different clock."""
NEWEST_NS = 100_000_000
"""Longest plausible time that a timestamp can be ahead of the arrival of its frame. A driver may report the planned end
of a frame that it delivers early; the kernel's simulated camera is 29 ms ahead."""


def timestamp_edge(kernel: Kernel, driver: str, flags: int) -> Literal["start", "end"]:
    """Return which end of the exposure a driver's timestamps mark.

    The flag in ``flags`` is correct except for uvcvideo. That driver sets the flag for the start of the exposure, but
    its timestamp is the host's time when the first bytes of the frame arrive, after the exposure. Only if loaded with
    ``hwtimestamps=1`` does it use the start of the exposure.
    """
    if driver == "uvcvideo" and kernel.parameter("uvcvideo", "hwtimestamps") not in ("1", "Y"):
        return "end"
    return "start" if flags & abi.TSTAMP_SRC_MASK == abi.TSTAMP_SRC_SOE else "end"


class TimestampMapper:
    """Conversion and checks of the timestamps of one stream. ``edge``: from `timestamp_edge` or the operator; None if
    the timestamps are not to be used."""

    def __init__(self, edge: Literal["start", "end"] | None, name: str) -> None:
        self._edge, self._name = edge, name
        self._last: int | None = None
        self._told = False

    def source(self, flags: int) -> TimestampSource:
        """Return the source of frame times while the timestamps are usable."""
        if self._edge is None or flags & abi.CLOCK_MASK != abi.CLOCK_MONOTONIC:
            return "arrival"
        return "kernel_soe" if self._edge == "start" else "kernel_eof"

    def capture(
        self, timestamp_ns: int, flags: int, arrival_ns: int, exposure_ns: int | None
    ) -> tuple[int, TimestampSource]:
        """Return the middle of the exposure in ns of CLOCK_MONOTONIC, and its source.

        If the exposure is unknown, the result is the timestamp itself. If a timestamp is on another clock, does not
        advance or is implausible, the arrival time is used instead. The arrival time, too, lies after the exposure.
        """
        half = (exposure_ns or 0) // 2
        source = self.source(flags)
        fault = "" if self._edge is None else self._fault(timestamp_ns, flags, arrival_ns)
        if source == "arrival" or fault:
            if fault and not self._told:
                self._told = True
                log.warning(
                    "%s: %s, so frames are timed by arrival, which is later and less steady. Pairs may be rejected "
                    "for their skew; calibrate the stream's offset (adsn-calib offset).",
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
            return "the driver does not name the clock of its timestamps"
        ahead = timestamp_ns - arrival_ns
        if not -OLDEST_NS <= ahead <= NEWEST_NS:
            where = "after" if ahead > 0 else "before"
            return f"the driver's timestamp is {abs(ahead) / 1e9:.3f} s {where} arrival"
        if self._last is not None and timestamp_ns <= self._last:
            return "the driver's timestamps do not advance"
        return ""
