"""Keep one camera running: a thread opens it, reads it, detects failures and opens it again.

A camera is ``closed`` at first, ``opening`` until the first frame, and then ``running``. It is ``stalled`` while it is
open but sends no more frames, and ``lost`` after a failure until the next attempt to open it. It is ``closed`` again
once it was stopped, or once the recording that it plays has ended. Each time it is opened, a new stream generation
starts. Only the newest frames are kept. A thread that is blocked in a driver is abandoned and replaced, so that it
cannot block anything else.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.capture.source import Source, SourceInfo
from runtime.capture.status import CameraState, CameraStatus
from runtime.core.errors import AdsnError, CameraData, CameraLost, CaptureError, StreamEnded
from runtime.core.retry import Backoff, LogThrottle
from runtime.core.values import Frame, Modality

log = logging.getLogger(__name__)

READ_S = 0.2
SLOT = 4
"""Number of frames kept for the pairing thread. When there are more, the oldest is dropped."""
STALL_S = 1.0
"""Time without a frame after which a camera counts as stalled. Only a camera at one frame/s or less has frame intervals
this long, and no rig has such a camera."""
REOPEN_S = 5.0
"""Time without a usable frame after which a camera is opened again. This is also the limit for the first frame."""
HANG_S = 15.0
"""Duration after which a call to open, read or close is considered hung. Opening some depth cameras takes seconds."""
HUNG_THREADS = 3
"""Number of hung threads at which the camera is not opened again until one of them returns: each holds memory, and
perhaps the device."""
SETTLED_S = 10.0
"""Minimum time from opening a camera to its failure after which the pause before the next attempt is short again. After
earlier failures the pauses keep growing."""
FPS_WINDOW = 64


@dataclass(slots=True, eq=False)
class _ReaderRun:
    """One run of the camera's thread.

    ``progress_ns``: time from which `HANG_S` counts. It is the time when a driver call last returned, when the closing
    of the camera began, or when the pause before the next attempt ends. ``abandoned``: whether the supervisor has given
    up the thread, because it hung or because the supervisor was closed.
    """

    progress_ns: int
    source: Source | None = None
    thread: threading.Thread | None = None
    abandoned: bool = False


@dataclass(slots=True)
class _CameraRecord:
    """State of a camera, guarded by the supervisor's lock."""

    state: CameraState = "closed"
    info: SourceInfo | None = None
    generation: int = -1
    frames: int = 0
    opened: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    last_frame_ns: int | None = None
    last_seq: int | None = None
    error: str = ""
    error_code: str = ""


class CameraSupervisor:
    """Supervisor that keeps one camera running from `start` to `close`.

    ``open_source``: function that opens the camera for a stream generation. ``wake``: called after each frame and each
    change of state, from the camera's thread or from `check`. ``pause``: waits between attempts, and returns at once
    after `stop`. ``pause``, ``clock_ns`` and ``rng`` are parameters for tests. Call `check` regularly, because a hung
    thread cannot report itself.
    """

    def __init__(
        self,
        modality: Modality,
        open_source: Callable[[int], Source],
        *,
        wake: Callable[[], None] = lambda: None,
        slot: int = SLOT,
        rng: random.Random | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        if not 1 <= slot <= SLOT:
            raise ValueError(f"slot must be 1 to {SLOT} frames, not {slot}.")
        self.modality = modality
        self._open, self._wake, self._clock_ns = open_source, wake, clock_ns
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._lock = threading.Lock()
        self._slot: deque[Frame] = deque()
        self._slot_size = slot
        self._arrivals: deque[int] = deque(maxlen=FPS_WINDOW)
        self._record = _CameraRecord()
        self._next_generation = 0
        self._backoff, self._log_throttle = Backoff(rng), LogThrottle()
        self._run: _ReaderRun | None = None
        self._hung: list[_ReaderRun] = []

    # -- for the camera's owner --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the camera's thread, which opens the camera, and return at once."""
        with self._lock:
            if self._run is None and not self._closing.is_set():
                self._record.state = "opening"
                self._begin()

    def drain(self) -> list[Frame]:
        """Remove and return the kept frames, oldest first."""
        with self._lock:
            frames = list(self._slot)
            self._slot.clear()
            return frames

    def check(self) -> None:
        """If the thread hangs in the driver, abandon it. Start another, unless `HUNG_THREADS` hang already."""
        now = self._clock_ns()
        with self._lock:
            self._hung = [run for run in self._hung if run.thread is not None and run.thread.is_alive()]
            run = self._run
            if run is None or self._closing.is_set():
                return
            if run.abandoned:
                if len(self._hung) < HUNG_THREADS:
                    self._begin()
                return
            ended = run.thread is None or not run.thread.is_alive()
            if ended or now - run.progress_ns < HANG_S * 1e9:
                return
            run.abandoned = True
            self._hung.append(run)
            if run.source is None:
                # If the hung call succeeds later, its frames must not be mistaken for those of the new thread.
                self._next_generation += 1
            self._fail(CameraLost(f"the driver of the {self.modality} camera has not answered for {HANG_S:g} s."))
            more = len(self._hung) < HUNG_THREADS
            if more:
                self._begin()
        log.error(
            "%s camera: the driver has not answered for %g s; its thread is abandoned, %s.",
            self.modality,
            HANG_S,
            "and the camera is opened again" if more else "and no further attempt is made until one returns",
        )
        self._wake()

    def status(self) -> CameraStatus:
        """Return the status of the camera."""
        now = self._clock_ns()
        with self._lock:
            record, arrivals = self._record, self._arrivals
            fps = 0.0
            if len(arrivals) > 1 and now - arrivals[-1] < STALL_S * 1e9 and record.state == "running":
                fps = (len(arrivals) - 1) * 1e9 / max(arrivals[-1] - arrivals[0], 1)
            return CameraStatus(
                modality=self.modality,
                state=record.state,
                info=record.info,
                generation=max(record.generation, 0),
                fps=fps,
                frames=record.frames,
                drops=dict(record.drops),
                reconnects=max(record.opened - 1, 0),
                last_frame_ns=record.last_frame_ns,
                last_error=record.error,
                last_error_code=record.error_code,
            )

    def stop(self) -> None:
        """Tell the thread to end; `join` waits for it."""
        self._closing.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, and return whether it ended. If it does not end soon, close the camera from another
        thread and wait for the rest of ``timeout_s``."""
        with self._lock:
            run = self._run
        if run is None or run.thread is None:
            return True
        run.thread.join(min(timeout_s, 2 * READ_S))
        if run.thread.is_alive() and run.source is not None:
            # Closing the source ends a waiting read. It may block as well, so it runs in a separate thread.
            threading.Thread(target=run.source.close, name=f"{self.modality}-close", daemon=True).start()
        run.thread.join(max(0.0, timeout_s - 2 * READ_S))
        ended = not run.thread.is_alive()
        with self._lock:
            run.abandoned = True
            self._record.state = "closed"
            self._slot.clear()
        if not ended:
            log.error("%s camera: its thread does not end; it is abandoned until this process exits.", self.modality)
        return ended

    def close(self, timeout_s: float = 2.0) -> bool:
        """Tell the thread to end, wait for at most ``timeout_s``, and return whether it ended."""
        self.stop()
        return self.join(timeout_s)

    # -- the camera's thread -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start a thread. Call with the lock held."""
        run = self._run = _ReaderRun(self._clock_ns())
        run.thread = threading.Thread(target=self._live, args=(run,), name=f"{self.modality}-camera", daemon=True)
        run.thread.start()

    def _live(self, run: _ReaderRun) -> None:
        while not self._over(run):
            began = self._clock_ns()
            try:
                self._session(run)
            except StreamEnded as error:
                self._ended(run, error)
                return
            except AdsnError as error:
                caught: AdsnError = error
            except Exception as error:
                # A bug in a driver's Python binding must not end the camera for good. Its traceback is logged at
                # limited frequency.
                if self._log_throttle.due(repr(type(error)), self._clock_ns() / 1e9):
                    log.exception("%s camera: unexpected failure", self.modality)
                caught = CaptureError(f"{type(error).__name__}: {error}")
            else:
                return
            if self._over(run):
                return
            now = self._clock_ns()
            with self._lock:
                if run.abandoned:
                    return
                if self._record.state in ("running", "stalled") and now - began > SETTLED_S * 1e9:
                    self._backoff.reset()
                    self._log_throttle.reset()
                self._fail(caught)
                delay = self._backoff.next(patient=not getattr(caught, "retryable", True))
            times = self._log_throttle.due(caught.code, now / 1e9)
            if times:
                count = f" ({times} times so far)" if times > 1 else ""
                # Log the text, because a kept exception would keep its traceback alive and with it the camera's
                # buffers.
                log.warning("%s camera: %s Next attempt in %.1f s%s.", self.modality, str(caught), delay, count)
            self._wake()
            # No driver call runs during the wait, so it counts as progress.
            run.progress_ns = now + round(delay * 1e9)
            self._pause(delay)
            run.progress_ns = self._clock_ns()

    def _session(self, run: _ReaderRun) -> None:
        """Open the camera and read it until the first failure or until told to stop."""
        with self._lock:
            if run.abandoned:
                return
            generation = self._next_generation
            self._record.state = "opening"
        self._wake()
        source = self._open(generation)
        run.progress_ns = self._clock_ns()
        run.source = source
        try:
            with self._lock:
                if run.abandoned:
                    return
                self._next_generation = generation + 1
                self._record.info, self._record.generation = source.info, generation
                self._record.opened += 1
                self._record.last_seq = None
                self._arrivals.clear()
            self._read(run, source)
        finally:
            # Close before the next attempt, because a device that is still open cannot be opened again.
            run.progress_ns = self._clock_ns()
            source.close()
            run.source = None
            run.progress_ns = self._clock_ns()

    def _read(self, run: _ReaderRun, source: Source) -> None:
        good = self._clock_ns()
        while not self._over(run):
            try:
                frame = source.read(READ_S)
            except CameraData as error:
                frame = None
                self._damaged(error)
            now = run.progress_ns = self._clock_ns()
            if self._over(run):
                return
            if frame is not None:
                good = now
                self._put(run, frame, now)
            elif now - good > REOPEN_S * 1e9:
                raise CameraLost(f"no usable frame for {REOPEN_S:g} s; the camera is opened again.")
            elif now - good > STALL_S * 1e9 and self._record.state == "running":
                with self._lock:
                    self._record.state = "stalled"
                if self._log_throttle.due("stalled", now / 1e9):
                    log.warning("%s camera: no frame for %g s.", self.modality, STALL_S)
                self._wake()

    def _put(self, run: _ReaderRun, frame: Frame, now: int) -> None:
        with self._lock:
            record = self._record
            if run.abandoned:
                return
            if record.state != "running":
                log.info("%s camera: running, stream generation %d.", self.modality, frame.generation)
                record.state, record.error, record.error_code = "running", "", ""
            record.frames += 1
            record.last_frame_ns = now
            if frame.seq is not None:
                if record.last_seq is not None and frame.seq > record.last_seq + 1:
                    record.drops["sequence_gap"] += frame.seq - record.last_seq - 1
                record.last_seq = frame.seq
            self._arrivals.append(now)
            self._slot.append(frame)
            if len(self._slot) > self._slot_size:
                self._slot.popleft()
                record.drops["overrun"] += 1
        self._wake()

    def _damaged(self, error: CameraData) -> None:
        now_s = self._clock_ns() / 1e9
        with self._lock:
            self._record.drops["corrupt"] += 1
            self._record.error, self._record.error_code = str(error), error.code
        if self._log_throttle.due(error.code, now_s):
            log.warning("%s camera: %s", self.modality, str(error))
        # Avoid a busy loop if a driver fails immediately.
        self._closing.wait(0.005)

    def _fail(self, error: AdsnError) -> None:
        """Record a failure. Call with the lock held."""
        self._record.state = "lost"
        self._record.error, self._record.error_code = str(error), error.code

    def _ended(self, run: _ReaderRun, error: StreamEnded) -> None:
        with self._lock:
            if run.abandoned:
                return
            self._record.state = "closed"
            self._record.error, self._record.error_code = str(error), error.code
        log.info("%s camera: %s", self.modality, str(error))
        self._wake()

    def _over(self, run: _ReaderRun) -> bool:
        return run.abandoned or self._closing.is_set()
