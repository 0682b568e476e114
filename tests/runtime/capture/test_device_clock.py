"""Accuracy of device clocks mapped to the host's, with drift, wraps, pauses and steps."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from runtime.capture.device_clock import DeviceClock
from runtime.core.units import MS

PERIOD = 33_333_333
BOOT = 7_000_000_000_000


class Device:
    """A camera with its own clock at 30 frames/s. The transport delay is 3 ms plus exponential jitter of 2 ms, plus a
    stall of 5 to 40 ms in 3 % of the frames."""

    def __init__(
        self, *, ppm: float = 0, seed: int = 0, tick_ns: int = 1, bits: int = 0, offset_ns: int = 11 * MS
    ) -> None:
        self._rng = random.Random(seed)
        self._rate = 1 + ppm * 1e-6
        self._tick, self._bits, self.offset_ns = tick_ns, bits, offset_ns
        self._arrived = 0

    def frame(self, true_ns: int) -> tuple[int, int]:
        """Return the device timestamp and the host arrival of a frame exposed ``true_ns`` after the start."""
        timestamp = int(true_ns / self._rate) + self.offset_ns
        delay = 3 * MS + int(self._rng.expovariate(1 / (2 * MS)))
        if self._rng.random() < 0.03:
            delay += self._rng.randint(5 * MS, 40 * MS)
        self._arrived = max(self._arrived + 1, BOOT + true_ns + delay)
        timestamp //= self._tick
        return timestamp % (1 << self._bits) if self._bits else timestamp, self._arrived

    def shortest(self, true_ns: int) -> int:
        """Return the best possible result: the true time plus the shortest delay."""
        return BOOT + true_ns + 3 * MS


def errors(clock: DeviceClock, device: Device, times: list[int]) -> list[float]:
    """Return the mapping error of each frame in milliseconds."""
    return [(clock.update(*device.frame(t)) - device.shortest(t)) / MS for t in times]


@pytest.mark.parametrize("ppm", [0, 50, -50, 300, -300])
def test_within_a_tenth_of_a_millisecond(ppm: float) -> None:
    """Checked at 30 frames/s with a window of ten seconds and any drift, over ten runs of one minute, after the first
    ten seconds."""
    off = [e for seed in range(10) for e in errors(DeviceClock(), Device(ppm=ppm, seed=seed), every(1800))[300:]]
    assert abs(float(np.mean(off))) <= 0.03
    assert float(np.percentile(np.abs(off), 99)) <= 0.1
    assert float(np.max(np.abs(off))) <= 0.15


def every(count: int, start: int = 0) -> list[int]:
    return [start + k * PERIOD for k in range(count)]


def test_it_is_useful_before_it_is_settled() -> None:
    off = errors(DeviceClock(), Device(ppm=50, seed=2), every(60))
    assert max(abs(e) for e in off[15:]) < 1.5


@pytest.mark.parametrize(("tick_ns", "bits"), [(1000, 32), (1000, 24), (1_000_000, 16)])
def test_a_counter_that_wraps(tick_ns: int, bits: int) -> None:
    near_the_end = ((1 << bits) - 400_000_000 // tick_ns) * tick_ns
    device = Device(tick_ns=tick_ns, bits=bits, offset_ns=near_the_end)
    clock = DeviceClock(tick_ns=tick_ns, bits=bits)
    off = errors(clock, device, every(1200))
    assert clock.generation == 0
    assert max(abs(e) for e in off[600:]) <= 0.3 + tick_ns / MS


def test_a_pause_longer_than_the_counter() -> None:
    """The counter wraps after 2**24 microseconds (16.8 s), and the camera pauses for a minute."""
    device, clock = Device(tick_ns=1000, bits=24), DeviceClock(tick_ns=1000, bits=24)
    errors(clock, device, every(600))
    off = errors(clock, device, every(300, start=80_000 * MS))
    assert clock.generation == 0
    assert max(abs(e) for e in off[200:]) <= 0.3


def test_a_clock_that_stood_still_in_a_pause_begins_an_epoch() -> None:
    device, clock = Device(), DeviceClock()
    errors(clock, device, every(600))
    device.offset_ns -= 50_000 * MS
    off = errors(clock, device, every(600, start=80_000 * MS))
    assert clock.generation == 1
    assert max(abs(e) for e in off[400:]) <= 0.3


def test_a_tick_that_is_no_whole_number() -> None:
    tick = Fraction(10**9, 48_000_000)
    clock, times = DeviceClock(tick_ns=tick, bits=32), every(400)
    for true in times:
        mapped = clock.update(int(true / tick) % 2**32, BOOT + true)
        assert abs(mapped - BOOT - true) <= 100_000


@pytest.mark.parametrize("step_ms", [200, 3_600_000, 20, -20, -60, -3_600_000])
def test_a_step_begins_an_epoch(step_ms: int) -> None:
    """After a step forward, frames seem early. After a step back, timestamps repeat or, if the step is short, frames
    seem late."""
    device, clock = Device(seed=8), DeviceClock()
    errors(clock, device, every(400))
    assert clock.generation == 0
    device.offset_ns += step_ms * MS
    off = errors(clock, device, every(600, start=400 * PERIOD))
    assert clock.generation == (0 if step_ms == -20 else 1)
    if step_ms != -20:
        assert max(abs(e) for e in off[400:]) <= 0.3


def test_no_step_is_seen_where_there_is_none() -> None:
    for seed in range(12):
        clock = DeviceClock()
        errors(clock, Device(seed=seed, ppm=200), every(900))
        assert clock.generation == 0


def test_stalls_are_no_step() -> None:
    rng = random.Random(1)
    clock, arrived = DeviceClock(), 0
    for k in range(3000):
        stall = rng.randint(40, 400) * MS if rng.random() < 0.02 else 0
        arrived = max(arrived + MS // 2, BOOT + k * PERIOD + 3 * MS + stall)
        clock.update(k * PERIOD, arrived)
    assert clock.generation == 0


def test_memory_is_bounded_at_any_rate() -> None:
    clock = DeviceClock()
    for k in range(6000):
        clock.update(k * MS, BOOT + k * MS + 2 * MS + (k * 7919) % 1000)
        assert len(clock) <= 1024


@pytest.mark.parametrize("settings", [{"tick_ns": 0}, {"bits": -1}])
def test_nonsense_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        DeviceClock(**settings)
