"""Dynamic batching: join the pairs that several threads score at the same time into one call of the engine.

An engine that uses all cores or a GPU scores eight pairs at once in less time than eight pairs one after the other.
With one single-threaded engine per worker, batching gains little and leaves the other cores idle, so it is off by
default.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores, check_batch


@dataclass(slots=True, eq=False)
class _Call:
    """Batch of ``count`` pairs from one caller. ``ready``: set when there is a result or an error, or when it is this
    caller's turn to run the engine."""

    batch: Batch
    count: int
    ready: threading.Event = field(default_factory=threading.Event)
    scores: Scores | None = None
    error: BaseException | None = None


class BatchingEngine:
    """`Engine` that joins calls from several threads into batches of up to ``most`` pairs.

    One caller at a time runs ``engine`` for all waiting callers. Calls that arrive meanwhile go into the next batch.
    Calls of ``most`` pairs or more are not joined and may run at the same time, so ``engine`` must be thread-safe.
    ``wait_s``: how long, in seconds, the caller whose turn it is waits for a batch to fill. At 0 it runs at once with
    the calls that are waiting.
    """

    def __init__(self, engine: Engine, most: int, wait_s: float = 0.0) -> None:
        self._engine, self.most, self.wait_s = engine, most, wait_s
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._running = False

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._engine.inputs

    def infer(self, batch: Batch) -> Scores:
        """See `Engine.infer`. A batch of at least `most` pairs runs at once, by itself."""
        count = check_batch(batch, self._engine.inputs)
        if count >= self.most:
            return self._engine.infer(batch)
        call = _Call(batch, count)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            first, self._running = not self._running, True
        if not first:
            call.ready.wait()
        if call.scores is None and call.error is None:
            self._lead()
        error, call.error = call.error, None
        if error is not None:
            try:
                raise error
            finally:
                # The traceback of the error keeps this frame alive, and with it the batch. Break that cycle.
                del error
        assert call.scores is not None
        return call.scores

    def _lead(self) -> None:
        """Run the waiting calls, including this thread's own, and pass the turn to the next caller."""
        calls: list[_Call] = []
        try:
            calls = self._gather()
            self._run(calls)
        finally:
            with self._changed:
                heir = self._waiting[0] if self._waiting else None
                self._running = heir is not None
            for call in calls:
                call.ready.set()
            if heir is not None:
                heir.ready.set()

    def _gather(self) -> list[_Call]:
        """Remove and return as many waiting calls as fit into one batch, oldest first."""
        until = time.monotonic() + self.wait_s
        with self._changed:
            while sum(call.count for call in self._waiting) < self.most:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            calls: list[_Call] = []
            pairs = 0
            while self._waiting and (not calls or pairs + self._waiting[0].count <= self.most):
                call = self._waiting.popleft()
                calls.append(call)
                pairs += call.count
        return calls

    def _run(self, calls: list[_Call]) -> None:
        try:
            scores = self._engine.infer(_joined([call.batch for call in calls]))
        except BaseException as error:
            if len(calls) == 1:
                calls[0].error = error
                return
            # The pairs of one caller may have caused the error. Run each call by itself, so that the others do not fail
            # with it.
            for call in calls:
                self._run([call])
            return
        start = 0
        for call in calls:
            call.scores = _part(scores, start, start + call.count)
            start += call.count

    def warm_up(self) -> None:
        self._engine.warm_up()

    def close(self) -> None:
        self._engine.close()


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _part(scores: Scores, start: int, stop: int) -> Scores:
    """Return a copy of the scores of some pairs, so that keeping them does not keep the whole batch in memory."""
    return Scores(
        scores.score[start:stop].copy(),
        scores.stream_scores[start:stop].copy(),
        scores.attention[start:stop].copy(),
    )
