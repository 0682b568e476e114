"""Pairing rules of other projects, reimplemented from their descriptions, with one small interface.

Only the rules are compared, not the rest of these projects (threads, transport, timestamps).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from runtime.core.values import Frame
from runtime.pairing.pairer import Pairer
from tests.support.approximate_time import ApproximateTime

Times = tuple[int, int]


class Rule(Protocol):
    """A pairing rule.

    ``feed``: takes one frame of stream 0 or 1 and returns pairs of capture times. ``due_ns``: time at which ``ask``
    must be called even without a frame.
    """

    def feed(self, number: int, frame: Frame) -> Sequence[Times]: ...

    def due_ns(self) -> int | None: ...

    def ask(self, now_ns: int) -> Sequence[Times]: ...


class _OnFrames:
    """Base of rules that act only when a frame arrives."""

    def due_ns(self) -> int | None:
        return None

    def ask(self, now_ns: int) -> Sequence[Times]:
        return ()


class AdsnRule:
    """`Pairer`, used as in a rig: called with frames, and at its deadlines."""

    def __init__(self, limit_ns: int) -> None:
        self._pairer = Pairer(("rgb", "ir"), max_skew_ns=limit_ns)

    def feed(self, number: int, frame: Frame) -> Sequence[Times]:
        return [(m.first_ns, m.second_ns) for m in self._pairer.push(frame)]

    def due_ns(self) -> int | None:
        return self._pairer.deadline_ns

    def ask(self, now_ns: int) -> Sequence[Times]:
        return [(m.first_ns, m.second_ns) for m in self._pairer.advance(now_ns)]


class Approximate(_OnFrames):
    """ApproximateTime of ROS message_filters (C++), with queues of ten frames and the limit as the maximum interval."""

    def __init__(self, limit_ns: int, bounds_ns: tuple[int, int] = (0, 0)) -> None:
        self._rule = ApproximateTime(10, bounds=bounds_ns, longest=limit_ns)

    def feed(self, number: int, frame: Frame) -> Sequence[Times]:
        return [(a, b) for a, b in self._rule.add(number, frame.t_capture_ns)]


class MessageFiltersPython(_OnFrames):
    """ApproximateTimeSynchronizer of ROS message_filters (Python).

    A frame is paired at once with the nearest one within the limit.
    """

    def __init__(self, limit_ns: int) -> None:
        self._limit = limit_ns
        self._queues: tuple[deque[int], deque[int]] = deque(maxlen=10), deque(maxlen=10)

    def feed(self, number: int, frame: Frame) -> Sequence[Times]:
        time = frame.t_capture_ns
        other = self._queues[1 - number]
        near = min(other, key=lambda t: abs(t - time), default=None)
        if near is None or abs(near - time) >= self._limit:
            self._queues[number].append(time)
            return ()
        other.remove(near)
        return [(time, near) if number == 0 else (near, time)]


class OldestReplaced(_OnFrames):
    """Sync node of DepthAI: it keeps one frame of each stream. While they are further apart than the limit, the older
    one is dropped."""

    def __init__(self, limit_ns: int) -> None:
        self._limit = limit_ns
        self._queues: tuple[deque[int], deque[int]] = deque(), deque()

    def feed(self, number: int, frame: Frame) -> Sequence[Times]:
        self._queues[number].append(frame.t_capture_ns)
        first, second = self._queues
        out = []
        while first and second:
            if abs(second[0] - first[0]) < self._limit:
                out.append((first.popleft(), second.popleft()))
            else:
                (first if first[0] < second[0] else second).popleft()
        return out


class HalfGap(OldestReplaced):
    """Syncer of librealsense: frames within half a period of the slower stream count as simultaneous. There is no other
    limit."""

    def __init__(self, slower_period_ns: int) -> None:
        super().__init__(slower_period_ns // 2)
