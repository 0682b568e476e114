"""A scripted pipeline, and a kiosk around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from runtime.core.operating_point import OperatingPoint
from runtime.core.values import Box, Pair
from runtime.liveness.evidence import Evidence, EvidenceRule, Observation
from runtime.liveness.stream_pipeline import StreamAssessment
from runtime.pairing.feed import CapturedPair
from service.kiosk.loop import KioskLoop, Listeners
from service.kiosk.loop_events import LoopEvents
from service.kiosk.monitor import Monitor
from service.kiosk.state_machine import KioskRule, KioskStateMachine
from service.monitoring.health import Health
from service.outputs.base import Channel, Event, Outputs
from service.process.systemd import Notifier
from tests.support.fakes import FakeFeed
from tests.support.waiting import until

POINT = OperatingPoint("test", 0.5, 0.4, "none", "none")
FACE = Box(10, 10, 40, 40)


def a_pair(generation: int = 0) -> Pair:
    """Return a pair captured now."""
    now = time.monotonic_ns()
    image = np.random.default_rng(now).integers(0, 256, (60, 80, 3), np.uint8)
    return Pair(rgb=image, ir=image[..., :1], rgb_time_ns=now, ir_time_ns=now, generation=generation, clock="monotonic")


class ScriptedAssessor:
    """Assessor that gives every pair the score ``score``; None means that there is no face.

    ``error``: exception to raise instead. ``gate``: event for which scoring waits. ``proved``: pairs used for the
    self-test. ``unproved``: exception to raise in the self-test.
    """

    def __init__(self) -> None:
        self.score: float | None = 0.95
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.resets = 0
        self.proved: list[Pair] = []
        self.unproved: Exception | None = None

    def assess(self, captured: CapturedPair, now_ns: int) -> StreamAssessment:
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        there = self.score is not None
        t_ns = captured.pair.rgb_time_ns or captured.t_emitted_ns
        failed = () if there else ("no_face",)
        scores = (self.score, self.score) if there else ()
        box = FACE if there else None
        observation = Observation(captured.number, t_ns, captured.pair.generation, self.score, scores, failed, box)
        return StreamAssessment(observation, None, {})

    def reset(self) -> None:
        self.resets += 1

    def self_test(self, pair: Pair) -> None:
        if self.unproved is not None:
            raise self.unproved
        self.proved.append(pair)


class Recorder:
    """Output that records its events, and whether each of them was still fresh on arrival."""

    name = "recorder"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def offer(self, event: Event) -> None:
        self.events.append(event)

    def counts(self) -> Mapping[str, int]:
        return {"sent": len(self.events)}

    def waiting(self) -> int:
        return 0

    def close(self, timeout_s: float) -> None: ...

    @property
    def decisions(self) -> list[str | None]:
        return [event.decision for event in self.events if event.kind == "decision"]

    @property
    def states(self) -> list[Any]:
        return [event.data["state"] for event in self.events if event.kind == "state" and "cause" in event.data]


class SpyNotifier(Notifier):
    """Notifier that keeps messages instead of sending them."""

    def __init__(self) -> None:
        super().__init__({})
        self.lines: list[str] = []

    def send(self, *lines: str) -> None:
        self.lines += lines


class ScriptedKiosk:
    """Run a kiosk on a scripted feed. While ``playing``, a separate thread delivers 30 pairs per second."""

    def __init__(self, *, evidence: EvidenceRule | None = None, channels: tuple[Channel, ...] = ()) -> None:
        self.feed, self.assessor, self.health, self.seen = FakeFeed(), ScriptedAssessor(), Health(), Recorder()
        self.notifier = SpyNotifier()
        self.outputs = Outputs([self.seen, *channels])
        rule = replace(KioskRule(), hold_ns=50_000_000, cool_down_ns=50_000_000, absent_ns=300_000_000)
        # Short attempts, because these tests run in real time.
        own = evidence or EvidenceRule(min_pairs=3, confirm=1.0, correlation_ns=20_000_000)
        ids = iter(f"s{number}" for number in range(1000))
        self.kiosk = KioskStateMachine(Evidence(POINT, ("rgb", "ir"), own), rule, lambda: next(ids))
        self.loop = KioskLoop(
            self.feed, self.assessor, self.kiosk, Listeners(self.outputs, self.health, self.notifier),
            LoopEvents({"site": "home", "door": "front"}), fault=lambda: self.monitor.fault(),
        )  # fmt: skip
        self.monitor = Monitor(self.feed, self.loop.counters, lambda: self.kiosk.state, self.health, self.notifier)
        self.make: Callable[[], Pair] = a_pair
        self.playing = threading.Event()
        self.playing.set()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._play),
            threading.Thread(target=self.loop.run, args=(self._stop,)),
        ]

    def _play(self) -> None:
        while not self._stop.wait(0.03):
            if self.playing.is_set():
                self.feed.put(self.make())

    def __enter__(self) -> ScriptedKiosk:
        for modality in ("rgb", "ir"):
            self.feed.camera(modality, "running")
        self.monitor.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.assessor.gate.set()
        for thread in self._threads:
            thread.join(30)
        self.monitor.close()
        self.feed.close()

    def go_on(self) -> None:
        """Return after the loop has polled the feed five more times, whether or not it got pairs."""
        waits = self.feed.waits
        until(lambda: self.feed.waits >= waits + 6)

    def conditions(self) -> set[str]:
        return {condition.name for condition in self.health.conditions}
