"""The loop of the kiosk: take the newest pair, score it, decide, publish. It runs in one thread and never waits for
I/O."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.core.errors import AdsnError, EngineError
from runtime.core.units import SECOND
from runtime.core.values import Pair
from runtime.liveness.stream_pipeline import StreamAssessment
from runtime.pairing.feed import CapturedPair, PairFeed
from service.kiosk.image_checks import FrozenImageWatch
from service.kiosk.loop_events import LoopEvents
from service.kiosk.state_machine import KioskStateMachine, SessionOutcome, Step
from service.monitoring.health import ConditionGroup, Health
from service.outputs.base import Outputs
from service.process.systemd import Notifier

log = logging.getLogger("adsn.kiosk")
WAIT_S = 0.1
GUIDANCE_NS = SECOND // 2
"""Minimum interval between guidance events (come closer, more light)."""


class PairAssessor(Protocol):
    """Assessor of pairs, implemented by `service.kiosk.scoring.RigAssessor`."""

    def assess(self, captured: CapturedPair, now_ns: int) -> StreamAssessment: ...
    def reset(self) -> None: ...
    def self_test(self, pair: Pair) -> None:
        """Run the network on a pair, even without a face, so that "ready" means that the whole pipeline has run."""
        ...


@dataclass(slots=True)
class LoopCounters:
    """Counters of the loop, written by its thread and read by any thread.

    ``busy_since``: start time of the assessment in progress, None between pairs. ``missed``: number of pairs that were
    not assessed because a newer pair replaced them. ``last_latency_ns``: time from the moment the last pair was formed
    until its result was passed to the outputs. Pairs during a fault of the rig and repeated frames are left out.
    """

    pairs: int = 0
    missed: int = 0
    errors: int = 0
    decisions: dict[str, int] = field(default_factory=lambda: {"live": 0, "spoof": 0, "uncertain": 0})
    busy_since: int | None = None
    last_latency_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Listeners:
    """Receivers of the loop's results.

    ``trace``: called with the page's representation of each assessed pair; must return immediately. ``latency``: called
    with the latency of each pair in nanoseconds, as in `LoopCounters`. Both leave out pairs during a fault of the rig
    and repeated frames.
    """

    outputs: Outputs
    health: Health
    notifier: Notifier
    trace: Callable[[Mapping[str, Any]], None] | None = None
    latency: Callable[[int], None] = lambda ns: None


class KioskLoop:
    """Loop that drives a `KioskStateMachine` with the pairs of ``feed``.

    ``assessor``: assesses each pair. ``fault``: returns the name of the rig's current fault, or an empty string.
    """

    def __init__(
        self,
        feed: PairFeed,
        assessor: PairAssessor,
        kiosk: KioskStateMachine,
        listeners: Listeners,
        events: LoopEvents,
        *,
        fault: Callable[[], str] = lambda: "",
        counters: LoopCounters | None = None,
    ) -> None:
        self.counters = counters or LoopCounters()
        self.ready = False
        self._feed, self._assessor, self._kiosk, self._events = feed, assessor, kiosk, events
        self._outputs, self._health, self._notifier = listeners.outputs, listeners.health, listeners.notifier
        self._trace, self._latency = listeners.trace, listeners.latency
        self._fault = fault
        self._pictures = FrozenImageWatch()
        self._cameras = ConditionGroup(listeners.health, "critical")
        self._guidance: tuple[str, ...] = ()
        self._guided = 0
        listeners.health.raise_("starting", "critical", "no pair has been assessed yet.")

    def run(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set. The caller must have started the feed."""
        after = -1
        while not stop.is_set():
            captured = self._feed.wait(after, WAIT_S)
            if captured is None:
                fault, now = self._fault(), time.monotonic_ns()
                self._publish(self._kiosk.interrupt(now, fault) if fault else self._kiosk.tick(now))
                continue
            if after >= 0:
                self.counters.missed += max(0, captured.number - after - 1)
            after = captured.number
            self.process(captured)
        self._publish(self._kiosk.interrupt(time.monotonic_ns(), "stopping"))

    def process(self, captured: CapturedPair) -> None:
        """Assess one pair and act on the result."""
        self.counters.busy_since = time.monotonic_ns()
        try:
            assessed = self._assessor.assess(captured, self.counters.busy_since)
            if not self.ready and assessed.assessment is None:
                self._assessor.self_test(captured.pair)
        except Exception as error:
            self._failed(error)
            return
        finally:
            self.counters.busy_since = None
        self.counters.pairs += 1
        self._health.clear("engine_failing")
        self._health.clear("judging_failing")
        repeated = self._look_at_pictures(captured.pair)
        # Checked after the assessment: if the rig failed meanwhile, the pair must not count.
        fault, now = self._fault(), time.monotonic_ns()
        if fault:
            self._publish(self._kiosk.interrupt(now, fault))
            return
        if repeated:
            # A repeated frame is neither evidence nor progress.
            self._publish(self._kiosk.tick(now))
            return
        self._publish(self._kiosk.process(now, assessed.observation))
        self._progress(captured)
        self._guide(now)
        if self._trace is not None:
            self._trace(self._events.trace(captured, assessed, self._kiosk, self.counters.last_latency_ns or 0))

    def _look_at_pictures(self, pair: Pair) -> bool:
        """Report frozen and covered cameras, and return whether a camera repeated a frame."""
        repeated = self._pictures.repeated(pair)
        self._cameras.report(self._pictures.conditions(pair, time.monotonic_ns()))
        return bool(repeated)

    def _failed(self, error: Exception) -> None:
        """Handle a pair that could not be assessed: end the session without a decision, and go on."""
        self.counters.errors += 1
        name = "engine_failing" if isinstance(error, EngineError) else "judging_failing"
        if isinstance(error, AdsnError):
            detail, cause = error.message, error.code
        else:
            # This is a bug. Its location is logged, at limited frequency. Its message is not, because it may contain
            # anything.
            detail, cause = f"{type(error).__name__} while assessing a pair.", "internal_error"
            if self.counters.errors in (1, 10) or self.counters.errors % 1000 == 0:
                log.error("%d pairs could not be assessed: %s", self.counters.errors, _place_of(error))
        self._health.raise_(name, "critical", detail)
        self._publish(self._kiosk.interrupt(time.monotonic_ns(), cause))
        self._assessor.reset()

    def _progress(self, captured: CapturedPair) -> None:
        if not self.ready:
            self.ready = True
            self._health.clear("starting")
            self._notifier.send("READY=1")
            log.info("ready: the first pair has been assessed")
        # Reset the watchdog only here, where a pair has passed through the whole pipeline.
        self._notifier.send("WATCHDOG=1")
        latency = time.monotonic_ns() - captured.t_emitted_ns
        self.counters.last_latency_ns = latency
        self._latency(latency)

    def _publish(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, SessionOutcome):
                self.counters.decisions[step.decision] += 1
                log.info("%s %s %s", step.session, step.decision, ",".join(step.reasons))
                self._outputs.publish(self._events.decision(step, time.monotonic_ns()))
            else:
                self._outputs.publish(self._events.change(step))
                if step.after == "idle":
                    self._assessor.reset()

    def _guide(self, now: int) -> None:
        if self._kiosk.guidance != self._guidance and now - self._guided >= GUIDANCE_NS:
            self._guidance, self._guided = self._kiosk.guidance, now
            self._outputs.publish(self._events.guidance(now, self._kiosk))


def _place_of(error: Exception) -> str:
    """Return the type of an error, and the files and lines of its traceback."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' < '.join(reversed(places))}"
