"""Monitor the kiosk from a separate thread, in order to notice when other threads hang.

The monitor converts the status of the rig to health conditions, detects pairs whose assessment takes too long, and
sends a status line to systemd. It never resets systemd's watchdog; only an assessed pair does, in `service.kiosk.loop`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from runtime.core.units import SECOND
from runtime.pairing.feed import FeedStatus, PairFeed
from service.kiosk.loop import LoopCounters
from service.monitoring.health import Condition, ConditionGroup, Health
from service.monitoring.rig_conditions import rig_conditions
from service.process.systemd import Notifier

log = logging.getLogger("adsn.kiosk")
PERIOD_S = 0.25
STUCK_NS = SECOND
STUCK_S = 1.0
STATUS_NS = 2 * SECOND
STARTING = frozenset({"starting", "engine_starting", "camera_opening"})
"""Conditions that occur at every start. (A camera that cannot be opened has a different one, ``camera_lost``.)"""


class Monitor:
    """Monitor of ``feed`` and of the ``counters`` of the loop.

    ``show``: called every second with the status of the rig. ``writing_s``: returns how long a decision has been
    waiting for the disk of the audit log, in seconds.
    """

    def __init__(
        self, feed: PairFeed, counters: LoopCounters, state: Callable[[], str], health: Health, notifier: Notifier,
        *, show: Callable[[FeedStatus], None] = lambda status: None, writing_s: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        self._feed, self._counters, self._state = feed, counters, state
        self._show, self._writing_s = show, writing_s
        self._health, self._notifier = health, notifier
        self._started = time.monotonic_ns()
        self._rig = ConditionGroup(health, "critical")
        self._told = self._shown = 0
        self._thread = threading.Thread(target=self._run, name="adsn-monitor", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self._started = time.monotonic_ns()
        self._thread.start()

    def fault(self) -> str:
        """Return the name of the rig's current fault, or an empty string. Thread-safe.

        A fault is reported as soon as it begins, even between two rounds of checks, and until its health condition is
        cleared. So nothing is decided while a condition says that nothing can be decided.
        """
        now = rig_conditions(self._feed.status(), time.monotonic_ns(), self._started)
        return next((name for name, _ in (*now, *self._rig.raised)), "")

    def look(self) -> None:
        """Run one round of checks."""
        now = time.monotonic_ns()
        status = self._feed.status()
        self._rig.report(rig_conditions(status, now, self._started))
        busy = self._counters.busy_since
        stuck = busy is not None and now - busy > STUCK_NS
        self._health.set("judging_stuck", "critical", "the assessment of a pair is taking too long." if stuck else None)
        late = self._writing_s() > STUCK_S
        detail = "the audit log's disk does not respond. Decisions wait until their lines are on disk."
        self._health.set("audit_stuck", "critical", detail if late else None)
        if now - self._shown >= SECOND:
            self._shown = now
            self._show(status)
        if now - self._told >= STATUS_NS:
            self._told = now
            self._notifier.send(f"STATUS={self.words(status)}")

    def words(self, status: FeedStatus) -> str:
        """Return the status of the kiosk in one line."""
        skew = "unknown" if status.skew_ms is None else f"{status.skew_ms:.1f} ms"
        worst = self._health.conditions[:1]
        trouble = f"; {worst[0].name}: {worst[0].detail}" if worst else ""
        return f"{status.pairs_per_s:.1f} pairs/s, skew {skew}, {self._state()}{trouble}".replace("\n", " ")

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self.look()
            except Exception as error:
                log.exception("the rig's status cannot be read")
                self._health.raise_("monitor_failing", "critical", f"{type(error).__name__} in the monitor.")
            else:
                self._health.clear("monitor_failing")


def log_condition(condition: Condition, raised: bool) -> None:
    """Log that a condition was raised or cleared. Used as a listener of `Health`."""
    name = f"{condition.name} ({condition.subject})" if condition.subject else condition.name
    if condition.name in STARTING:
        # These conditions occur at every start, so they are not logged as errors.
        log.log(logging.INFO if raised else logging.DEBUG, "%s: %s", name, condition.detail if raised else "over")
    elif not raised:
        log.info("recovered: %s", name)
    elif condition.severity == "critical":
        log.error("%s: %s", name, condition.detail)
    else:
        log.warning("%s: %s", name, condition.detail)
