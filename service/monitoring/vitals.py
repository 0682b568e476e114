"""How the service is: what it notices of its engine and cameras becomes conditions of `service.monitoring.health`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from runtime.face.open import detector_info
from service.liveness.capture import camera_views
from service.state import State

PERIOD_S = 1.0
PAIRS_STOPPED_S = 5.0
"""Silence of a rig that is worth a condition: longer than any camera takes to be opened again."""
CAMERA_STATES = ("opening", "stalled", "lost", "closed")


def refresh(state: State, *, cameras: bool) -> None:
    """Raise and clear conditions. ``cameras``: those of the attached rig too, where nobody else watches it."""
    health, model = state.health, state.model
    starting = model.loaded is None and model.failure is None
    failed = model.loaded is None and model.failure is not None
    health.set("engine_starting", "critical", "the engine is starting." if starting else None)
    health.set("engine_failed", "critical", "the engine could not start; see the service's log." if failed else None)
    limit_s, stuck_s = state.settings.limits.judge_s, state.pool.stuck_s()
    stuck = f"the engine has been at one pair for {stuck_s:.0f} seconds." if stuck_s > limit_s else None
    health.set("engine_stuck", "critical", stuck)
    running = model.loaded.pipeline.engine.info if model.loaded is not None else None
    less = f"{running.backend} runs, which is less than was asked for. {running.reason}" if running else ""
    health.set("engine_degraded", "warning", less.rstrip() if running is not None and running.degraded else None)
    detector = detector_info(model.loaded.pipeline.locator) if model.loaded is not None else None
    worse = f"the face is found by OpenCV's cascade. {detector.reason}" if detector and detector.degraded else None
    health.set("detector_degraded", "warning", worse)
    if not cameras or state.feed is None:
        return
    status = state.feed.status()
    for camera in status.cameras:
        for name in CAMERA_STATES:
            said = f"the {camera.modality} camera is {name}. {camera.last_error}".rstrip()
            health.set(f"camera_{name}", "warning", said if camera.state == name else None, camera.modality)
    age_s = None if status.last_pair_ns is None else (time.monotonic_ns() - status.last_pair_ns) / 1e9
    silent = age_s is None or age_s > PAIRS_STOPPED_S
    since = "no pair has come yet" if age_s is None else f"the last pair came {age_s:.0f} seconds ago"
    health.set("no_pairs", "warning", f"{since}. {status.advice}".rstrip() if silent else None)


async def watch(state: State, *, cameras: bool) -> None:
    """Refresh for as long as the service runs."""
    while True:
        refresh(state, cameras=cameras)
        await asyncio.sleep(PERIOD_S)


def feed_view(state: State) -> dict[str, Any] | None:
    """The attached rig as `/readyz` and `/info` show it; None without one."""
    if state.feed is None:
        return None
    status = state.feed.status()
    age_ms = None if status.last_pair_ns is None else (time.monotonic_ns() - status.last_pair_ns) / 1e6
    return {
        "cameras": camera_views(status),
        "last_pair_age_ms": None if age_ms is None else round(age_ms, 1),
        "pairs_per_s": round(status.pairs_per_s, 2),
        "skew_ms": status.skew_ms,
        "advice": status.advice,
    }
