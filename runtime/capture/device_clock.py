"""Map a device's clock to the host's clock, using only the arrival times of frames.

A frame arrives later than its timestamp by at least the shortest transport delay, and often by more. Plotted over
device time, arrival minus timestamp is therefore a cloud of points with a sharp lower edge. The slope of that edge is
the drift between the clocks. A mean or a least-squares line would follow the middle of the cloud and be off by the mean
delay. Instead this module fits the line that stays below all points and is highest in the middle of the cloud, which is
the edge of the lower convex hull at that place (L. Zhang, Z. Liu, C. H. Xia, "Clock synchronization algorithms for
network measurements", INFOCOM 2002).

The result is late by the shortest delay, which arrival times cannot reveal. It is constant, so the calibrated offset of
the stream includes it. V4L2 cameras need no mapping: their timestamps are already CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from runtime.core.units import MS

_WINDOW_NS = 10_000 * MS
_SETTLED_NS = 2_000 * MS
"""Minimum time span for a slope. Over a shorter span the slope would be noise, so only the lowest point is used."""
_MAX_DRIFT = 1e-3
"""Maximum drift that is accepted. Good quartz crystals drift by up to 100 ppm, bad ones by up to 300 ppm."""
_MAX_POINTS = 1024
_EARLY_NS = 5 * MS
_EARLY_AT_FIRST_NS = 100 * MS
_LATE_NS = 30 * MS
_LATE_FRAMES = 8
_LATE_FOR_NS = 400 * MS


class DeviceClock:
    """Mapping of one device's timestamps to the host's clock. No I/O; keeps at most 1,024 arrivals.

    ``tick_ns``: nanoseconds per count (1000 for microseconds; a Fraction if it is not a whole number). ``bits``: width
    of the counter if it wraps; 0 if it does not.

    If the device's clock steps by at least 15 ms forward or 30 ms back, ``generation`` increases; times of different
    generations cannot be compared. A step is recognised
    at once if a frame arrives earlier than possible or timestamps go back. Late frames may only have been delayed, so a
    step is assumed after eight late frames in a row over at least 0.4 s. Smaller steps are absorbed as old arrivals
    leave the window.

    Raises:
        ValueError: the tick is not above 0, or the width is negative.
    """

    def __init__(self, *, tick_ns: int | Fraction = 1, bits: int = 0) -> None:
        if tick_ns <= 0 or bits < 0:
            raise ValueError("tick_ns must be above 0, and bits must not be negative.")
        self._tick = Fraction(tick_ns)
        self._wrap = 1 << bits if bits else 0
        self._ticks: int | None = None  # newest timestamp, unwrapped
        self._arrival = 0
        self.generation = 0
        self._start(0, 0)

    def __len__(self) -> int:
        """Return the number of arrivals kept."""
        return len(self._points)

    def update(self, ticks: int, t_arrival_ns: int) -> int:
        """Map a frame's timestamp ``ticks``, in counts of the device, and refine the mapping with its arrival time.

        The result is on CLOCK_MONOTONIC, in nanoseconds, and late by the shortest transport delay.
        """
        ticks = self._unwrap(ticks, t_arrival_ns)
        device = int(ticks * self._tick)
        if self._stepped(device, t_arrival_ns):
            self.generation += 1
            self._points.clear()
        if not self._points:
            self._start(device, t_arrival_ns - device)
        self._arrival = t_arrival_ns
        if not self._late:  # a late arrival does not help to locate the edge
            self._learn(device - self._zero, t_arrival_ns - device - self._base)
        return device + self._base + round(self._edge(device - self._zero))

    def _unwrap(self, ticks: int, arrival: int) -> int:
        if self._ticks is not None and self._wrap:
            step = (ticks - self._ticks) % self._wrap
            # During a pause the counter may have wrapped several times; the time elapsed on the host's clock shows how
            # often. A timestamp that went back would count as a wrap, but the elapsed time rules that out.
            elapsed = (arrival - self._arrival) / self._tick
            ticks = self._ticks + step + round((elapsed - step) / self._wrap) * self._wrap
        self._ticks = ticks
        return ticks

    def _stepped(self, device: int, arrival: int) -> bool:
        if not self._points:
            return False
        x = device - self._zero
        above = arrival - device - self._base - self._edge(x)
        # All of the first frames may have been delayed. The first frame without a delay must then not count as a step.
        settled = x - self._points[0][0] >= _SETTLED_NS
        if x <= self._points[-1][0] or above < (-_EARLY_NS if settled else -_EARLY_AT_FIRST_NS):
            return True
        if above <= _LATE_NS:
            self._late = 0
            return False
        if self._late == 0:
            self._late_since = arrival  # delayed frames arrive in one burst, so frames are late only briefly
        self._late += 1
        return self._late >= _LATE_FRAMES and arrival - self._late_since >= _LATE_FOR_NS

    def _start(self, device: int, difference: int) -> None:
        """Start over. Points are stored relative to the first one, so that they are small enough for floats."""
        self._zero, self._base = device, difference
        self._points: deque[tuple[int, int]] = deque()
        self._hull: list[tuple[int, int]] = []
        self._sum = 0
        self._slope = 0.0
        self._anchor = (0, 0)
        self._late, self._late_since = 0, 0

    def _learn(self, x: int, y: int) -> None:
        points = self._points
        points.append((x, y))
        self._sum += x
        # The oldest point is always a corner of the hull, so the hull must be rebuilt when that point is dropped. To do
        # that rarely, a tenth of a window is dropped at a time.
        if x - points[0][0] > 11 * _WINDOW_NS // 10 or len(points) > _MAX_POINTS:
            least = len(points) - 9 * _MAX_POINTS // 10 if len(points) > _MAX_POINTS else 0
            while x - points[0][0] > _WINDOW_NS or least > 0:
                self._sum -= points.popleft()[0]
                least -= 1
            self._hull = []
            for point in points:
                _extend(self._hull, point)
        else:
            _extend(self._hull, (x, y))
        self._fit()

    def _fit(self) -> None:
        hull = self._hull
        if hull[-1][0] - hull[0][0] < _SETTLED_NS:
            self._slope, self._anchor = 0.0, min(hull, key=lambda corner: corner[1])
            return
        middle = self._sum / len(self._points)
        index = next(i for i in range(1, len(hull)) if hull[i][0] >= middle)
        (x0, y0), (x1, y1) = hull[index - 1], hull[index]
        self._slope = min(max((y1 - y0) / (x1 - x0), -_MAX_DRIFT), _MAX_DRIFT)
        self._anchor = hull[index]

    def _edge(self, x: int) -> float:
        at, height = self._anchor
        return height + self._slope * (x - at)


def _extend(hull: list[tuple[int, int]], point: tuple[int, int]) -> None:
    """Add a point to the right of a lower convex hull."""
    x, y = point
    while len(hull) > 1:
        (x0, y0), (x1, y1) = hull[-2], hull[-1]
        if (y1 - y0) * (x - x0) < (y - y0) * (x1 - x0):
            break
        hull.pop()
    hull.append(point)
