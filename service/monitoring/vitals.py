"""Health of the service: report the states of engine, store and cameras as conditions (`service.monitoring.health`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from runtime.core.units import SECOND
from runtime.face.open import detector_info
from runtime.pairing.feed import PairFeed
from service.http.problem_document import CameraView, camera_views
from service.liveness.active_model import ActiveModel
from service.liveness.pool import WorkerPool
from service.monitoring.health import ConditionGroup, Health
from service.monitoring.rig_conditions import camera_conditions, pair_conditions
from service.store.base import StoreStatus

PERIOD_S = 1.0
PAIRS_STOPPED_NS = 5 * SECOND
"""Time without a pair after which a condition is raised. It is longer than any camera takes to reopen."""


class FeedView(TypedDict):
    """The attached rig."""

    cameras: list[CameraView]
    last_pair_age_ms: Annotated[
        float | None, Field(description="Age of the last pair, in milliseconds; null before the first.")
    ]
    pairs_per_s: float
    skew_ms: float | None
    advice: Annotated[str, Field(description="Why no pairs are formed; empty while they are.")]


class Vitals:
    """Watch that raises and clears conditions in ``health``.

    ``store``: returns the status of the store. ``judge_s``: time limit for one pair. ``feed``: the attached rig, None
    without one. ``cameras``: whether to report conditions of its cameras; False if the embedding program does so.
    """

    def __init__(
        self,
        health: Health,
        model: ActiveModel,
        pool: WorkerPool,
        store: Callable[[], StoreStatus],
        *,
        judge_s: float,
        feed: PairFeed | None,
        cameras: bool,
    ) -> None:
        self.health, self.feed = health, feed
        self._model, self._pool, self._judge_s = model, pool, judge_s
        # The store's conditions are only warnings: requests that need no store are still answered, so load balancers
        # should keep using this replica.
        self._store, self._of_store = store, ConditionGroup(health, "warning")
        self._cameras = ConditionGroup(health, "warning") if cameras and feed is not None else None

    async def watch(self) -> None:
        """Refresh the conditions every second as long as the service runs."""
        while True:
            self.refresh()
            if self._cameras is not None and self.feed is not None:
                status, now = self.feed.status(), time.monotonic_ns()
                # A rig that has not delivered its first pair counts as silent. Uploads are scored anyway.
                silent = pair_conditions(status, now, 0, PAIRS_STOPPED_NS)
                self._cameras.report({**camera_conditions(status, now), **silent})
            await asyncio.sleep(PERIOD_S)

    def refresh(self) -> None:
        """Raise and clear the conditions of the engine and the store."""
        health, model = self.health, self._model
        starting = model.loaded is None and model.failure is None
        failed = model.loaded is None and model.failure is not None
        health.set("engine_starting", "critical", "the engine is starting." if starting else None)
        told = "the engine could not start; see the service's log." if failed else None
        health.set("engine_failed", "critical", told)
        stuck_s = self._pool.stuck_s()
        stuck = f"the engine has been scoring one pair for {stuck_s:.0f} seconds." if stuck_s > self._judge_s else None
        health.set("engine_stuck", "critical", stuck)
        running = model.loaded.pipeline.engine.info if model.loaded is not None else None
        less = f"{running.backend} runs instead of the configured engine. {running.reason}" if running else ""
        health.set("engine_degraded", "warning", less.rstrip() if running is not None and running.degraded else None)
        detector = detector_info(model.loaded.pipeline.detector) if model.loaded is not None else None
        worse = (
            f"OpenCV's cascade detects faces instead of the configured detector. {detector.reason}"
            if detector and detector.degraded
            else None
        )
        health.set("detector_degraded", "warning", worse)
        self._of_store.report({(name, ""): told for name, told in self._store().conditions.items()})

    def feed_view(self) -> FeedView | None:
        """Return the attached rig in the form shown by `/readyz` and `/info`, or None without one."""
        if self.feed is None:
            return None
        status = self.feed.status()
        age_ms = None if status.last_pair_ns is None else (time.monotonic_ns() - status.last_pair_ns) / 1e6
        return {
            "cameras": camera_views(status),
            "last_pair_age_ms": None if age_ms is None else round(age_ms, 1),
            "pairs_per_s": round(status.pairs_per_s, 2),
            "skew_ms": status.skew_ms,
            "advice": status.advice,
        }
