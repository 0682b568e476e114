"""Pairs that several threads score at the same time, joined into one call of the engine.

An engine that has all cores, or a GPU, for a call takes less for eight pairs at once than for eight one after the
other. An engine of one thread for each worker gains little and loses the other cores, so this is off unless somebody
asks.
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
    """A caller's batch of ``count`` pairs. ``ready`` is set when there is a result, or when it is this caller's turn to
    run the engine."""

    batch: Batch
    count: int
    ready: threading.Event = field(default_factory=threading.Event)
    scores: Scores | None = None
    error: BaseException | None = None


class BatchingEngine:
    """`Engine` that joins calls of several threads, up to ``most`` pairs at a time.

    One caller at a time runs ``engine`` for all who wait; whoever comes meanwhile is joined into the next batch.
    ``wait_s``: how long a caller whose turn it is waits for more of them. At 0 a caller who comes alone waits for
    nobody.
    """

    def __init__(self, engine: Engine, most: int, wait_s: float = 0.0) -> None:
        self._engine, self.most, self.wait_s = engine, most, wait_s
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._running = False

    @property
    def engine(self) -> Engine:
        """The engine that runs the batches."""
        return self._engine

    @property
    def queued(self) -> int:
        """Number of calls that wait for the next run."""
        return len(self._waiting)

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._engine.inputs

    def infer(self, batch: Batch) -> Scores:
        """As `Engine.infer`. Batches that nobody can join with are run as they are."""
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
                # An error holds the frames it passed, and this frame's batch with them.
                del error
        assert call.scores is not None
        return call.scores

    def _lead(self) -> None:
        """Run the calls that wait, this thread's among them, and hand the turn on."""
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
        """Take calls, oldest first, as far as they fit into one batch."""
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
            # What one pair has done is not for the others to bear.
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
    """Some pairs' scores, in memory of their own: nobody keeps a whole batch for one of its pairs."""
    return Scores(
        scores.score[start:stop].copy(),
        scores.stream_scores[start:stop].copy(),
        scores.attention[start:stop].copy(),
    )
