"""A device's clock mapped to the host's, from nothing but when its frames arrive.

A frame arrives some time after it was stamped: never less than the shortest way takes, often more. Over device time the
difference of arrival and stamp is therefore a cloud with a sharp lower edge, whose slope is the drift of the clocks.
Averages and least squares follow the cloud and are off by its mean delay; the line below it that lies highest at the
cloud's middle follows the edge (L. Zhang, Z. Liu, C. H. Xia, "Clock synchronization algorithms for network
measurements", INFOCOM 2002). That line is the edge of the lower convex hull over the middle.

What stays in is the shortest delay itself, which no arrival can show: a constant, part of the stream's offset.
Cameras of the kernel's video drivers need none of this: their stamps are of CLOCK_MONOTONIC already.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

MS = 1_000_000
_WINDOW_NS = 10_000 * MS
_SETTLED_NS = 2_000 * MS
"""Below this span a slope would be noise, and the lowest point alone is used."""
_MAX_DRIFT = 1e-3
"""Quartz is good to 100 ppm, bad quartz to 300. A steeper line is no clock's."""
_MAX_POINTS = 1024
_EARLY_NS = 5 * MS
_EARLY_AT_FIRST_NS = 100 * MS
_LATE_NS = 30 * MS
_LATE_FRAMES = 8
_LATE_FOR_NS = 400 * MS


@dataclass(frozen=True, slots=True)
class HostTime:
    """A device's stamp on the host's clock.

    ``host_ns``: CLOCK_MONOTONIC, late by the shortest delay of the transport. ``delay_ns``: how much longer than that
    this frame took. ``generation`` grows with each step of the device's clock; times of two generations must not be
    compared.
    """

    host_ns: int
    delay_ns: int
    generation: int


class DeviceClock:
    """Maps the stamps of one device. Pure and streaming; remembers 1,024 arrivals at most.

    ``tick_ns``: nanoseconds of one count (1000 for microseconds; a Fraction where it is no whole number). ``bits``:
    width of the counter, which wraps; 0 for one that does not. ``window_ns``: how long arrivals are remembered.

    A step of the device's clock, if it is 15 ms forward or 30 ms back or more, begins a new stream generation: at once
    when a frame arrives earlier than possible or stamps go back, and after eight frames and 0.4 s that were all too
    late when they may have been held up until then. Smaller ones are followed as old arrivals leave the window.

    Raises:
        ValueError: a tick or a window that is not above 0, or a width below 0.
    """

    def __init__(self, *, tick_ns: int | Fraction = 1, bits: int = 0, window_ns: int = _WINDOW_NS) -> None:
        if tick_ns <= 0 or bits < 0 or window_ns <= 0:
            raise ValueError("tick_ns and window_ns must be above 0, and bits must not be negative.")
        self._tick = Fraction(tick_ns)
        self._wrap = 1 << bits if bits else 0
        self._window = window_ns
        self._ticks: int | None = None  # newest stamp, unwrapped
        self._arrival = 0
        self.generation = 0
        self._start(0, 0)

    @property
    def drift_ppm(self) -> float:
        """How much faster the host's clock runs than the device's; 0 before enough was seen."""
        return self._slope * 1e6

    def __len__(self) -> int:
        """Arrivals that are remembered."""
        return len(self._points)

    def update(self, ticks: int, t_arrival_ns: int) -> HostTime:
        """Map a frame's stamp, as the device counts it, and learn from its arrival on the host's clock."""
        ticks = self._unwrap(ticks, t_arrival_ns)
        device = int(ticks * self._tick)
        if self._stepped(device, t_arrival_ns):
            self.generation += 1
            self._points.clear()
        if not self._points:
            self._start(device, t_arrival_ns - device)
        self._arrival = t_arrival_ns
        if not self._late:  # what is late says nothing of the edge
            self._learn(device - self._zero, t_arrival_ns - device - self._base)
        host = device + self._base + round(self._edge(device - self._zero))
        return HostTime(host, max(t_arrival_ns - host, 0), self.generation)

    def _unwrap(self, ticks: int, arrival: int) -> int:
        if self._ticks is not None and self._wrap:
            step = (ticks - self._ticks) % self._wrap
            # In a pause the counter may have gone round several times; the host's clock tells how often. A stamp that
            # went back looks like one whole turn, which the host's clock did not see.
            elapsed = (arrival - self._arrival) / self._tick
            ticks = self._ticks + step + round((elapsed - step) / self._wrap) * self._wrap
        self._ticks = ticks
        return ticks

    def _stepped(self, device: int, arrival: int) -> bool:
        if not self._points:
            return False
        x = device - self._zero
        above = arrival - device - self._base - self._edge(x)
        # The first frames may all have been held up, and one that was not is no step.
        settled = x - self._points[0][0] >= _SETTLED_NS
        if x <= self._points[-1][0] or above < (-_EARLY_NS if settled else -_EARLY_AT_FIRST_NS):
            return True
        if above <= _LATE_NS:
            self._late = 0
            return False
        if self._late == 0:
            self._late_since = arrival  # frames that were held up come all at once, and do not last
        self._late += 1
        return self._late >= _LATE_FRAMES and arrival - self._late_since >= _LATE_FOR_NS

    def _start(self, device: int, difference: int) -> None:
        """Begin anew. Points are kept relative to the first, so that they are small enough for floats."""
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
        # The oldest point is always a corner, so that dropping one means building the hull anew; a tenth of a window
        # is dropped at a time.
        if x - points[0][0] > 11 * self._window // 10 or len(points) > _MAX_POINTS:
            least = len(points) - 9 * _MAX_POINTS // 10 if len(points) > _MAX_POINTS else 0
            while x - points[0][0] > self._window or least > 0:
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
