"""Score pairs of the attached rig for subscribers to events, in a thread that works only while there is a subscriber.

The results open nothing and are not stored. The kiosk publishes its own events and does not need this thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.core.errors import AdsnError, NotReady
from runtime.core.units import MS
from runtime.core.values import Box, Modality, Pair
from runtime.face.pair_detection import no_face_message
from runtime.liveness.pair_pipeline import Assessment, LivenessPipeline
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair, FeedStatus, PairFeed
from service.liveness.active_model import ActiveModel
from service.monitoring.events import EventHub

log = logging.getLogger("adsn.service")
PAIRS_PER_S = 8
"""Maximum number of pairs per second. A person cannot follow more, and they would take time from requests."""
STATUS_S = 1.0
SEARCHED: tuple[Modality, ...] = ("rgb", "ir")
"""Modalities in which a face is searched for."""
IDLE_S = 0.25


def box_fractions(box: Box, shape: Sequence[int]) -> list[float]:
    """Return x, y, width and height as fractions of an image of ``shape`` [H, W, …]."""
    height, width = shape[:2]
    return [round(v, 4) for v in (box.x / width, box.y / height, box.w / width, box.h / height)]


def pair_event(
    captured: CapturedPair,
    found: Assessment | None,
    reasons: Sequence[str],
    threshold: float,
    *,
    expose_score: bool,
) -> dict[str, Any]:
    """Return the event for a pair. Its ``decision`` is ``none`` if there is no model to score it.

    Its ``detail`` names the images without a face, and is empty if a face was found.
    """
    pair: Pair = captured.pair
    nobody = found is None and "no_face" in reasons
    decision = found.decision if found is not None else ("none" if nobody else "uncertain")
    shown = found is not None and expose_score
    skew = pair.skew_ns
    return {
        "number": captured.number,
        "decision": decision,
        "score": round(found.score, 4) if found is not None and shown else None,
        "threshold": round(threshold, 4) if expose_score else None,
        "reasons": list(reasons),
        "detail": no_face_message(pair, [m for m in SEARCHED if getattr(pair, m) is not None]) if nobody else "",
        "skew_ms": None if skew is None else round(skew / MS, 3),
        "epoch": pair.generation,
        "lit": pair.lit,
        "strobe": found.strobe if found is not None else "unknown",
        "boxes": {m: box_fractions(b, pair.image(m).shape) for m, b in found.boxes.items()}
        if found is not None
        else {},
        "timing_ms": {k: round(v, 2) for k, v in found.timing_ms.items()} if found is not None else {},
    }


def status_event(status: FeedStatus) -> Mapping[str, Any]:
    """Return the event with the status of the cameras."""
    return {
        "cameras": [
            {
                "modality": camera.modality,
                "state": camera.state,
                "fps": round(camera.fps, 2),
                "frames": camera.frames,
                "drops": dict(camera.drops),
                "reconnects": camera.reconnects,
                "epoch": camera.generation,
                "last_error": camera.last_error,
            }
            for camera in status.cameras
        ],
        "pairs_per_s": round(status.pairs_per_s, 2),
        "skew_ms": status.skew_ms,
        "rejected": dict(status.rejected),
        "strobe": status.strobe,
        "advice": status.advice,
    }


class RigWatch:
    """Thread that scores pairs of ``feed`` for the subscribers of ``hub``, at most `PAIRS_PER_S` per second."""

    def __init__(self, model: ActiveModel, feed: PairFeed, hub: EventHub, *, expose_score: bool) -> None:
        self._model, self._feed, self._hub, self._expose_score = model, feed, hub, expose_score
        self._stop = threading.Event()
        self._after = -1
        self._told_s = 0.0
        self._stream: StreamPipeline | None = None
        self._thread = threading.Thread(target=self._run, name="adsn-rigwatch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Tell the thread to end, and return at once."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._hub.watched:
                self._stop.wait(IDLE_S)
                continue
            began = time.monotonic()
            try:
                self.step(began)
            except Exception as error:
                # One bad pair must not end the thread. The log omits the text of the error, which may quote image data.
                log.error("a pair could not be scored for the console: %s", type(error).__name__)
            self._stop.wait(max(0.0, 1 / PAIRS_PER_S - (time.monotonic() - began)))

    def step(self, now_s: float) -> None:
        """Publish the newest pair if it has not been published, and the status of the cameras once a second."""
        if now_s - self._told_s >= STATUS_S:
            self._told_s = now_s
            self._hub.publish("cameras", status_event(self._feed.status()))
        captured = self._feed.wait(self._after, STATUS_S / 2)
        if captured is None:
            return
        self._after = captured.number
        found: Assessment | None = None
        try:
            with self._model.lease() as loaded:
                threshold = loaded.pipeline.point.threshold
                try:
                    assessed = self._stream_of(loaded.pipeline).assess(captured, time.monotonic_ns())
                    found, reasons = assessed.assessment, assessed.reasons
                except AdsnError as error:
                    reasons = (error.code,)
        except NotReady:
            return
        event = pair_event(captured, found, reasons, threshold, expose_score=self._expose_score)
        self._hub.publish("pair", event)

    def _stream_of(self, pipeline: LivenessPipeline) -> StreamPipeline:
        """Return the pipeline that tracks the face from pair to pair. It is kept as long as the model stays the
        same."""
        if self._stream is None or self._stream.pipeline is not pipeline:
            self._stream = StreamPipeline(pipeline)
        return self._stream
