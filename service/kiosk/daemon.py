"""The kiosk daemon: start, supervise and stop all components in order."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from runtime.core.errors import AdsnError
from runtime.liveness.evidence import Evidence
from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import FeedStatus, PairFeed
from service.app import create_app
from service.config.trust import open_trail
from service.kiosk.audited_outputs import AuditedOutputs, decision_answer
from service.kiosk.config import KioskSettings
from service.kiosk.loop import KioskLoop, Listeners, LoopCounters
from service.kiosk.loop_events import LoopEvents
from service.kiosk.metrics import KioskCollector
from service.kiosk.monitor import Monitor, log_condition
from service.kiosk.page_status import PageChannel, page_status
from service.kiosk.scoring import RigAssessor
from service.kiosk.state_machine import KioskStateMachine
from service.kiosk.wiring import PageServer, open_outputs, page_settings, with_borrowed_engine
from service.liveness.loading import warn_of_model
from service.monitoring.events import EventHub
from service.monitoring.health import Condition, Health
from service.monitoring.metrics import Metrics
from service.monitoring.rig_watch import status_event
from service.outputs.base import Channel, Event, Outputs, boottime_ns, utc_now
from service.outputs.home_assistant import KioskReadings
from service.process.systemd import Notifier

log = logging.getLogger("adsn.kiosk")

STOP_S = 2.0
"""Time limit, in seconds, for stopping the outputs, the cameras and the page, which happens in parallel."""
EXTEND_S = 30.0
"""Time, in seconds, by which each message to systemd extends the start timeout."""
EXTEND_EVERY_S = 5.0
BUILD_LIMIT_S = 1800.0
"""Time in seconds for which systemd's start timeout is extended while the engine starts. After it, the start is
considered hung. Building an engine for the first time may take minutes."""


class Daemon:
    """One kiosk. ``feed``: source of pairs, not started yet. ``load``: opens the pipeline, which may take minutes.

    Raises:
        ConfigError: an output, the page, the signing key or the audit log cannot be set up.
        AuditBroken: the audit log does not end like one.
    """

    def __init__(
        self,
        settings: KioskSettings,
        feed: PairFeed,
        load: Callable[[], LoadedModel],
        *,
        channels: Sequence[Channel] = (),
    ) -> None:
        self._settings, self._feed, self._load = settings, feed, load
        self._place = {"site": settings.site, "door": settings.door}
        self._notifier = Notifier()
        self._loaded: Future[LoadedModel] = Future()
        self._kiosk: KioskStateMachine | None = None
        self._crashed = False
        self.health = Health()
        self.counters = LoopCounters()
        self.health.listen(log_condition)
        self.health.raise_("starting", "critical", "no pair has been assessed yet.")
        self._hub = EventHub()
        self._watched = PageChannel(self._hub, boottime_ns)
        # Open the log before the outputs, so that the start ends here if another process uses it or the key cannot be
        # read.
        self._trail = open_trail(settings.attestation, settings.audit)
        # Home Assistant's channel may ask for the readings before all outputs are open.
        self.outputs = Outputs([])
        self.outputs = self._open_outputs(channels)
        self.health.listen(self._publish_health)
        self._numbers = KioskCollector(self.health, self.counters, self._state, self.outputs)
        self.monitor = Monitor(
            feed, self.counters, self._state, self.health, self._notifier, show=self._show_cameras,
            writing_s=self.outputs.stuck_s if isinstance(self.outputs, AuditedOutputs) else lambda: 0.0,
        )  # fmt: skip
        self.page = self._make_page() if settings.http.enabled else None

    def run(self, stop: threading.Event) -> int:
        """Run until ``stop`` is set, close everything, and return the exit code: 0 stopped, 1 failed."""
        try:
            if self.page is not None:
                self.page.start()
            self._feed.start()
            self.monitor.start()
            if self._wait_for_engine(stop):
                if self.page is not None:
                    # Log the address even before the cameras are ready: if they are not, the page shows why.
                    log.info("console: %s/console", self.page.url)
                self._decide(stop)
        finally:
            clean = self._end()
        error = self._loaded.exception() if self._loaded.done() else None
        if error is not None:
            # This is logged last, so that it is the line that the operator sees.
            log.error("the engine cannot start: %s", error if isinstance(error, AdsnError) else type(error).__name__)
        return 1 if self._crashed or not clean else 0

    def _state(self) -> str:
        return self._kiosk.state if self._kiosk is not None else "starting"

    def _open_outputs(self, channels: Sequence[Channel]) -> Outputs:
        settings, health = self._settings, self.health
        every = [*open_outputs(settings, health, self._readings), self._watched, *channels]
        if self._trail.log is None and self._trail.attester is None:
            return Outputs(every)
        return AuditedOutputs(every, health, self._trail, place=f"{settings.site}/{settings.door}")

    def _readings(self) -> KioskReadings:
        return KioskReadings(self._feed.status(), self.outputs.waiting())

    def _make_page(self) -> PageServer:
        settings = page_settings(self._settings)
        metrics = Metrics()
        metrics.registry.register(self._numbers)
        app = create_app(
            settings,
            lambda: with_borrowed_engine(self._loaded.result()),
            # The daemon logs the failure itself once everything has ended.
            on_failure=lambda error: None,
            feed=self._feed,
            hub=self._hub,
            health=self.health,
            metrics=metrics,
            # Decisions requested through the page are signed and logged like those for the door.
            trail=self._trail,
        )
        return PageServer(app, settings)

    def _wait_for_engine(self, stop: threading.Event) -> bool:
        """Wait for the engine, and return whether it is available.

        Returns early if ``stop`` is set. Extends systemd's start timeout while waiting.
        """

        def load() -> None:
            try:
                self._loaded.set_result(self._load())
            except BaseException as error:
                self._loaded.set_exception(error)

        threading.Thread(target=load, name="adsn-load", daemon=True).start()
        began = told = time.monotonic()
        while not stop.is_set() and not self._loaded.done():
            stop.wait(0.05)
            now = time.monotonic()
            if now - told >= EXTEND_EVERY_S and now - began < BUILD_LIMIT_S:
                told = now
                self._notifier.send(
                    f"EXTEND_TIMEOUT_USEC={int(EXTEND_S * 1e6)}", f"STATUS=starting the engine for {now - began:.0f} s"
                )
        if not self._loaded.done():
            return False
        error = self._loaded.exception()
        if error is not None:
            self._crashed = True
            return False
        return True

    def _decide(self, stop: threading.Event) -> None:
        """Run the loop in a thread, so that the main thread can handle signals even while an engine blocks."""
        loaded, own = self._loaded.result(), self._settings.decision
        # Logged as a warning, so that the limitations of the model, which are in its summary, are visible in the log.
        log.warning("model %s %s: %s", loaded.manifest.name, loaded.manifest.version, loaded.manifest.summary)
        warn_of_model(loaded)
        moved = partial(self.health.set, "camera_moved", "warning")
        assessor = RigAssessor(loaded, self._settings.rig, self._feed, moved)
        evidence = Evidence(loaded.pipeline.point, loaded.pipeline.modalities, own.evidence())
        self._kiosk = KioskStateMachine(evidence, own.rule(), lambda: str(uuid.uuid4()))
        events = LoopEvents(
            place=self._place,
            expose_score=own.expose_score,
            threshold=loaded.pipeline.point.threshold,
            answer=partial(decision_answer, loaded=loaded, expose_score=own.expose_score),
        )
        listeners = Listeners(
            self.outputs, self.health, self._notifier, trace=self._trace, latency=self._numbers.add_latency
        )
        loop = KioskLoop(
            self._feed, assessor, self._kiosk, listeners, events, fault=self.monitor.fault, counters=self.counters
        )

        def run() -> None:
            try:
                loop.run(stop)
            except BaseException:
                self._crashed = True
                log.exception("the loop failed; the process exits so that it can be restarted")
                stop.set()

        thread = threading.Thread(target=run, name="adsn-loop", daemon=True)
        thread.start()
        while not stop.wait(1):
            pass
        thread.join(1)
        if thread.is_alive():
            log.error("a pair is still being scored; exiting without waiting for it")
            self._crashed = True

    def _end(self) -> bool:
        """Stop the monitor, then feed, outputs and page in parallel, and return whether these three stopped.

        They get `STOP_S` and half a second more. The engine is closed only if nothing can still be using it.
        """
        self._notifier.send("STOPPING=1", "STATUS=stopping")
        self.monitor.close()
        ends: list[Callable[[], None]] = [self._feed.close, lambda: self.outputs.close(STOP_S)]
        page = self.page
        if page is not None:
            ends.append(lambda: page.close(STOP_S))
        threads = [threading.Thread(target=end, daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + STOP_S + 0.5
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        clean = not any(thread.is_alive() for thread in threads)
        busy = self.counters.busy_since is not None
        if self._loaded.done() and self._loaded.exception() is None and clean and not busy:
            self._loaded.result().pipeline.engine.close()
        return clean

    def _publish_health(self, condition: Condition, raised: bool) -> None:
        data = {**self._place, **condition.view(), "raised": raised, "ready": self.health.ready}
        self.outputs.publish(Event("health", str(uuid.uuid4()), time.monotonic_ns(), utc_now(), data))

    def _trace(self, trace: Mapping[str, Any]) -> None:
        if self._hub.watched:
            self._hub.publish("pair", trace)

    def _show_cameras(self, status: FeedStatus) -> None:
        if self._hub.watched:
            self._hub.publish("cameras", status_event(status))
            told = page_status(self._place, self._state(), self.outputs.channels, self.health, self._watched)
            self._hub.publish("kiosk", told)
