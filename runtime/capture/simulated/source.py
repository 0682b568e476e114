"""Simulated cameras in real time, with scripted faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from numpy.typing import NDArray

from runtime.capture.simulated.scenario import FaultScript, FrameSchedule, StrobePattern
from runtime.capture.simulated.stage import Stage
from runtime.capture.source import PIXEL_FORMATS, SourceInfo
from runtime.capture.uri import CameraUri
from runtime.core.errors import CameraData, CameraLost, CameraMissing
from runtime.core.values import MODALITIES, Frame, IlluminationState, Modality

BUFFERS = 4
"""Number of frames kept for a slow reader. Older frames are overwritten, as in a driver."""
FORGET_NS = 120_000_000_000
"""Time after which a scene starts over if all of its cameras stay closed."""
CHECK_S = 0.05
FIRST_S = 5.0


class SharedScene:
    """A scene seen by several cameras. They share its clock, which keeps running while a camera is unplugged."""

    def __init__(self, stage: Stage, name: str, seed: int, size: tuple[int, int]) -> None:
        self.stage, self.name, self.seed, self.size = stage, name, seed, size
        self.began_ns = self.touched_ns = time.monotonic_ns()
        self._open = 0
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Count one more open camera."""
        with self._lock:
            self._open += 1

    def release(self) -> None:
        """Count one open camera fewer, and stop rendering after the last one."""
        with self._lock:
            self._open -= 1
            self.touched_ns = time.monotonic_ns()
            if not self._open:
                self.stage.rest()

    def is_expired(self, now_ns: int) -> bool:
        """Return whether all cameras of the scene have been closed for `FORGET_NS`."""
        return not self._open and now_ns - self.touched_ns > FORGET_NS


class SceneRegistry:
    """The scenes of this process. The key of a scene is the options of an address that are listed in ``options``."""

    def __init__(self, make: Callable[[CameraUri], SharedScene], options: Collection[str]) -> None:
        self._make, self._options = make, options
        self._known: dict[tuple[tuple[str, str], ...], SharedScene] = {}
        self._lock = threading.Lock()

    def of(self, uri: CameraUri) -> SharedScene:
        """Return the scene of an address. Create it if it does not exist or has expired."""
        key = tuple(sorted((name, value) for name, value in uri.options.items() if name in self._options))
        with self._lock:
            now = time.monotonic_ns()
            for old in [k for k, scene in self._known.items() if scene.is_expired(now)]:
                del self._known[old]
            if key not in self._known:
                self._known[key] = self._make(uri)
            self._known[key].touched_ns = now
            return self._known[key]


class SimulatedCamera:
    """`runtime.capture.source.Source` of a simulated camera in real time."""

    def __init__(self, uri: CameraUri, modality: Modality, generation: int, scene: SharedScene) -> None:
        self._script = FaultScript.parse(uri)
        self._strobe = StrobePattern.parse(uri) if modality == "ir" else StrobePattern()
        self._tagged = uri.flag("metadata") and modality == "ir"
        self._complete = uri.flag("wait")
        self._scene = scene
        self._order = MODALITIES.index(modality)
        self._schedule = FrameSchedule.parse(uri, scene.seed * 3 + self._order)
        now = time.monotonic_ns() - scene.began_ns
        if self._script.active("unplug", now):
            raise CameraMissing(f"{uri.text}: the simulated camera is unplugged.")
        if modality == "ir" and (self._strobe.dark or self._script.has("emitter_off")):
            scene.stage.want_dark()
        self._modality, self._generation = modality, generation
        # Render the first images now, so that frames then come without a gap. A real camera also takes a while to open.
        scene.acquire()
        try:
            for lit in (True, False) if self._strobe.dark else (True,):
                scene.stage.picture(modality, now, lit, 0, FIRST_S)
        except BaseException:
            scene.release()
            raise
        self._first = self._next = self._schedule.first_after(time.monotonic_ns() - scene.began_ns)
        self._closed, self._closing = threading.Event(), threading.Lock()
        width, height = scene.size
        self._info = SourceInfo(
            modality=modality,
            uri=uri.text,
            identity=f"synthetic-{scene.name}-{modality}",
            backend="synthetic",
            width=width,
            height=height,
            pixel_format=PIXEL_FORMATS[modality],
            fps=self._schedule.fps,
            timestamp_source="synthetic",
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        deadline = time.monotonic_ns() + round(timeout_s * 1e9)
        began, script, clockwork = self._scene.began_ns, self._script, self._schedule
        while True:
            now = time.monotonic_ns()
            while script.active("hang", time.monotonic_ns() - began):
                time.sleep(CHECK_S)
            if self._closed.is_set():
                raise CameraLost(f"{self._info.uri}: closed.")
            if script.active("unplug", now - began):
                raise CameraLost(f"{self._info.uri}: the simulated camera was unplugged.")
            late = int((now - began - clockwork.arrival_ns(self._next)) / clockwork.period_ns)
            self._next += max(0, late - BUFFERS)
            due = began + clockwork.arrival_ns(self._next)
            if now >= due:
                frame = self._wait_for_frame(self._next, max(0.0, (deadline - now) / 1e9))
                if frame is not None:
                    return frame
            elif now >= deadline:
                return None
            else:
                self._closed.wait(min(due - now, deadline - now, CHECK_S * 1e9) / 1e9)

    def _wait_for_frame(self, n: int, timeout_s: float) -> Frame | None:
        """Return frame ``n``; None if it is lost or not rendered in time."""
        scene, script, clockwork = self._scene, self._script, self._schedule
        at = clockwork.capture_ns(n)
        if clockwork.dropped(n) or script.active("stall", at):
            self._next += 1
            return None
        claimed = lit = self._strobe.is_lit(n)
        if self._modality == "ir":
            lit = (lit or script.active("strobe_stuck", at)) and not script.active("emitter_off", at)
        shown, grain = script.begin("freeze", at), n * 3 + self._order
        if shown != at:
            grain = 0
        if self._complete and not scene.stage.complete(shown):
            self._closed.wait(min(timeout_s, CHECK_S))
            return None
        image = scene.stage.picture(self._modality, shown, lit, grain, timeout_s)
        if image is None:
            return None
        self._next += 1
        if script.active("corrupt", at):
            raise CameraData(f"{self._info.uri}: frame {n - self._first} cannot be decoded (simulated).")
        if script.active("cover", at):
            image = self._covered(image, lit, grain)
        state: IlluminationState = ("lit" if claimed else "dark") if self._tagged else "unknown"
        return Frame(
            modality=self._modality,
            image=image,
            t_capture_ns=scene.began_ns + at,
            t_arrival_ns=scene.began_ns + clockwork.arrival_ns(n),
            seq=n - self._first,
            timestamp_source="synthetic",
            lit=state,
            generation=self._generation,
            exposure_ns=clockwork.exposure_ns,
        )

    def _covered(self, image: NDArray[Any], lit: bool, grain: int) -> NDArray[Any]:
        """Return the image of a covered lens: black, or lit by the reflected light of the illuminator."""
        bright = self._modality == "ir" and lit
        image.fill(255 if bright else 0)
        return image if self._modality == "depth" else self._scene.stage.with_grain(image, grain)

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
        self._scene.release()
