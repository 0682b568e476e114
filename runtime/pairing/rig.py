"""The rig: keeps its cameras running, matches their frames, and provides the newest pair."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from runtime.capture.check import check_cameras
from runtime.capture.open import open_source
from runtime.capture.source import Source
from runtime.capture.status import CameraStatus
from runtime.capture.supervisor import CameraSupervisor
from runtime.config.rig import RigSettings
from runtime.core.values import MODALITY_NAMES, Frame, Modality, Pair
from runtime.pairing.feed import CapturedPair, FeedStatus
from runtime.pairing.rig_pairing import RigPairing

log = logging.getLogger(__name__)

TICK_S = 0.05
SLOT_NS = 2_000_000
"""Assumed upper bound on the time from a frame's arrival until the supervisor has queued it. The pairing thread delays
its deadlines by this much and no more."""
REPORT_S = 10.0
"""Interval of the log message that explains why no pairs are formed."""
RATE_WINDOW_NS = 2_000_000_000
CLOSE_S = 1.8

CameraOpener = Callable[[str, Modality, int], Source]


class RigObserver(Protocol):
    """Receiver of all frames and pairs of a rig. It is called in the pairing thread, so it must return at once and
    never raise.

    ``recording``: file that frames are being written to; empty if nothing is recorded.
    """

    @property
    def recording(self) -> str: ...

    def on_frame(self, frame: Frame) -> None: ...

    def on_pair(self, captured: CapturedPair) -> None: ...


class Rig:
    """`runtime.pairing.feed.PairFeed` of two cameras.

    ``observers``: see `RigObserver`. ``opener`` is for tests.

    Raises:
        ConfigError: the settings do not name two cameras, or an address is wrong.
    """

    def __init__(
        self,
        settings: RigSettings,
        *,
        observers: tuple[RigObserver, ...] = (),
        opener: CameraOpener = open_source,
    ) -> None:
        self._pairing = RigPairing(settings)
        check_cameras({modality: getattr(settings, modality) for modality in self._pairing.modalities})
        self._observers = observers
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._cameras: list[CameraSupervisor] = []
        for modality in self._pairing.modalities:
            uri = getattr(settings, modality)
            opening = functools.partial(opener, uri, modality)
            self._cameras.append(CameraSupervisor(modality, opening, wake=self._awake.set))
        self._fresh = threading.Condition()
        self._newest: CapturedPair | None = None
        self._emitted: deque[int] = deque(maxlen=512)
        self._skew_ms: float | None = None
        self._fault = ""
        self._reported_ns = 0
        self._silent = False
        # Snapshot that the pairing thread writes after each round. Other threads read it, because reading the pairer
        # itself would be a race.
        self._known = (dict(self._pairing.rejected), self._pairing.strobe, "")
        self._thread = threading.Thread(target=self._pair, name="rig-pairing", daemon=True)
        self._started = False

    def start(self) -> None:
        """Start a thread for each camera, which opens it, and return at once."""
        if self._started or self._closing.is_set():
            return
        self._started = True
        self._reported_ns = time.monotonic_ns()
        for camera in self._cameras:
            camera.start()
        self._thread.start()

    def wait(self, after: int, timeout_s: float) -> CapturedPair | None:
        """Return the newest pair with a number above ``after``; None on a timeout or if the rig is closed."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._closing.is_set() or self._newer(after) is not None, timeout_s)
            return None if self._closing.is_set() else self._newer(after)

    def _newer(self, after: int) -> CapturedPair | None:
        newest = self._newest
        return newest if newest is not None and newest.number > after else None

    def status(self) -> FeedStatus:
        """Return the rig's status. Thread-safe."""
        now = time.monotonic_ns()
        cameras = tuple(camera.status() for camera in self._cameras)
        rejected, strobe, advice = self._known
        with self._fresh:
            newest = self._newest
            recent = [t for t in self._emitted if now - t < RATE_WINDOW_NS]
            rate = 0.0
            if len(recent) > 1:
                rate = (len(recent) - 1) * 1e9 / max(recent[-1] - recent[0], 1)
            return FeedStatus(
                cameras=cameras,
                pairs=0 if newest is None else newest.number + 1,
                pairs_per_s=rate,
                last_pair_ns=None if newest is None else newest.t_emitted_ns,
                skew_ms=self._skew_ms,
                rejected=rejected,
                strobe=strobe,
                advice=camera_advice(cameras) or self._fault or advice,
                recording=next(filter(None, (observer.recording for observer in self._observers)), ""),
            )

    def close(self) -> None:
        """Stop within two seconds, even if a camera hangs."""
        deadline = time.monotonic() + CLOSE_S
        self._closing.set()
        self._awake.set()
        with self._fresh:
            self._fresh.notify_all()
        for camera in self._cameras:
            camera.stop()
        if not self._started:
            return
        threads = [
            threading.Thread(target=camera.join, args=(CLOSE_S,), name="rig-close", daemon=True)
            for camera in self._cameras
        ]
        for thread in (*threads, self._thread):
            if thread is not self._thread:
                thread.start()
        for thread in (*threads, self._thread):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    # -- the pairing thread ------------------------------------------------------------------------------------------

    def _pair(self) -> None:
        while not self._closing.is_set():
            deadline = self._pairing.deadline_ns
            now = time.monotonic_ns() - SLOT_NS
            wait_s = TICK_S if deadline is None else min(TICK_S, max(0.0, (deadline - now) / 1e9))
            self._awake.wait(wait_s)
            self._awake.clear()
            try:
                self._round()
                self._fault = ""
            except Exception as error:
                # Without this handler a bug would end the feed silently. Pairs that this round has already emitted stay
                # published. The rest of its frames is lost, which only costs pairs.
                if not self._fault:
                    log.exception("the rig's pairing failed; it continues with the next frames")
                self._fault = f"pairing failed: {type(error).__name__}: {error}."

    def _round(self) -> None:
        # Read the clock first, so that every frame that arrived before ``now`` is drained below. `SLOT_NS` allows for
        # frames that have arrived but are not in the slot yet.
        now = time.monotonic_ns() - SLOT_NS
        frames = [frame for camera in self._cameras for frame in camera.drain()]
        # The sort is stable, so each stream keeps its order.
        frames.sort(key=lambda frame: frame.t_arrival_ns)
        for frame in frames:
            for observer in self._observers:
                observer.on_frame(frame)
            for pair in self._pairing.push(frame):
                self._emit(pair)
        for pair in self._pairing.advance(now):
            self._emit(pair)
        for camera in self._cameras:
            camera.check()
        self._known = (dict(self._pairing.rejected), self._pairing.strobe, self._pairing.advice(now))
        self._report(now)

    def _emit(self, pair: Pair) -> None:
        with self._fresh:
            now = time.monotonic_ns()
            number = 0 if self._newest is None else self._newest.number + 1
            captured = self._newest = CapturedPair(number, pair, now)
            self._emitted.append(now)
            self._skew_ms = self._pairing.skew_ms
            self._fresh.notify_all()
        for observer in self._observers:
            observer.on_pair(captured)

    def _report(self, now_ns: int) -> None:
        newest = self._newest
        since = self._reported_ns if newest is None else max(self._reported_ns, newest.t_emitted_ns)
        if now_ns - since > REPORT_S * 1e9:
            self._reported_ns, self._silent = now_ns, True
            status = self.status()
            rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(status.rejected.items()))
            log.warning(
                "no pairs for %.0f s: %s Rejected so far: %s.",
                REPORT_S,
                status.advice or "no fault is known.",
                rejected or "none",
            )
        elif self._silent and newest is not None and newest.t_emitted_ns > self._reported_ns:
            self._silent = False
            log.info("pairs are being formed again.")


def camera_advice(cameras: tuple[CameraStatus, ...]) -> str:
    """Return one line on the first camera with a problem, or an empty string.

    A camera has a problem if it is lost or stalled, or if it is opening or closed after an error.
    """
    for camera in cameras:
        name = f"the {MODALITY_NAMES[camera.modality]} camera"
        if camera.state == "lost":
            return f"{name} is lost, and is being opened again: {camera.last_error}"
        if camera.state == "stalled":
            return f"{name} is open but sends nothing: {camera.last_error or 'it is opened again if this lasts.'}"
        if camera.state == "opening" and camera.last_error:
            return f"{name} is being opened; before that: {camera.last_error}"
        if camera.state == "closed" and camera.last_error:
            return f"{name} has ended: {camera.last_error}"
    return ""
