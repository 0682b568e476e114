"""Scoring off the event loop: a bounded pool of workers with a bounded queue before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from runtime.assemble import Loaded
from runtime.errors import Overloaded
from runtime.imagefile import decode
from runtime.values import Pair
from service.contract import answer
from service.parse import Meta
from service.settings import Settings

Result = TypeVar("Result")


class Pool:
    """Runs functions in ``workers`` threads; at most ``queue`` more may wait."""

    def __init__(self, workers: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="adsn-score")
        self._admitted = workers + queue
        self._inside = 0

    async def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Run ``function`` in a worker. Call from the event loop only.

        Raises:
            Overloaded: the queue is full.
        """
        if self._inside >= self._admitted:
            raise Overloaded("more pairs are waiting than the service accepts. Try again in a moment.")
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: function(*args, **kwargs))
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Let what runs finish; what waits is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def judge(
    loaded: Loaded, settings: Settings, rgb: bytes, ir: bytes, meta: Meta, *, request_id: str, received_ns: int
) -> dict[str, Any]:
    """Decode and judge one uploaded pair; returns the answer's body. Runs in a worker.

    Raises:
        InputError: the images or boxes cannot be used. EngineError: there is no score.
    """
    began = time.perf_counter_ns()
    pair = Pair(
        rgb=decode(rgb, "rgb", max_pixels=settings.max_pixels),
        ir=decode(ir, "ir", max_pixels=settings.max_pixels),
        rgb_time_ns=meta.rgb_timestamp_ns,
        ir_time_ns=meta.ir_timestamp_ns,
    )
    decoded = time.perf_counter_ns()
    found = loaded.pipeline.assess(pair, *meta.boxes())
    timing = {"queue": (began - received_ns) / 1e6, "decode": (decoded - began) / 1e6, **found.timing_ms}
    timing["total"] = (time.perf_counter_ns() - received_ns) / 1e6
    return answer(
        found, loaded, pair, meta, request_id=request_id, expose_score=settings.expose_score, timing_ms=timing
    )
