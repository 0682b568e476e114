"""Calls from several threads are joined into one batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.bundle.manifest import open_bundle
from runtime.core.errors import InferenceFailed, InvalidBatch
from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores
from runtime.engines.batching import BatchingEngine
from runtime.engines.golden import check_golden, read_golden
from runtime.engines.onnx import OnnxCpuEngine
from runtime.liveness.open import default_bundle
from tests.support.models.engine_contract import EngineContract, Reference
from tests.support.waiting import until

WAIT_S = 20.0
FAULT = 255


class HeldEngine:
    """An engine whose runs wait until ``go`` is set. The score of a pair is its first value / 255, and a batch that
    contains `FAULT` fails. ``sizes``: number of pairs in each run."""

    info = EngineInfo("fake", "int8", "cpu", {}, 1)
    inputs = (InputSpec("ir", "uint8", (2, 2, 1)),)

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.began, self.go = threading.Semaphore(0), threading.Event()
        self.closed = False

    def infer(self, batch: Batch) -> Scores:
        values = batch["ir"][:, 0, 0, 0]
        self.sizes.append(len(values))
        self.began.release()
        assert self.go.wait(WAIT_S)
        if (values == FAULT).any():
            raise InferenceFailed("a fault.")
        score = (values / 255).astype(np.float32)
        return Scores(score, np.stack([score, score], 1), np.zeros((len(values), 2, 1, 1, 1), np.float32))

    def warm_up(self) -> None:
        self.sizes.append(0)

    def close(self) -> None:
        self.closed = True


def pairs(*values: int) -> Batch:
    return {"ir": np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_who_comes_during_a_run_shares_the_next(threads: ThreadPoolExecutor) -> None:
    def shared() -> bool:
        engine = HeldEngine()
        batching = BatchingEngine(engine, 4)
        futures = [threads.submit(batching.infer, pairs(10))]
        assert engine.began.acquire(timeout=WAIT_S)
        futures += [threads.submit(batching.infer, pairs(value)) for value in range(20, 80, 10)]
        engine.go.set()
        scores = [future.result(WAIT_S).score for future in futures]
        assert [round(float(s[0]) * 255) for s in scores] == [10, 20, 30, 40, 50, 60, 70]
        assert all(s.shape == (1,) and s.base is None for s in scores)
        assert (engine.sizes[0], sum(engine.sizes)) == (1, 7)
        return engine.sizes == [1, 4, 2]

    # A thread that is slow to start may miss the run that it was to share.
    until(shared)


def test_batches_are_not_torn_and_large_ones_go_alone(threads: ThreadPoolExecutor) -> None:
    engine = HeldEngine()
    batching = BatchingEngine(engine, 4, wait_s=WAIT_S)
    # One of the two calls runs when both wait: six pairs do not fit into one batch.
    futures = [threads.submit(batching.infer, pairs(*values)) for values in ((1, 2, 3), (4, 5, 6))]
    assert engine.began.acquire(timeout=WAIT_S)
    futures.append(threads.submit(batching.infer, pairs(7)))
    engine.go.set()
    assert [len(future.result(WAIT_S).score) for future in futures] == [3, 3, 1]
    assert engine.sizes == [3, 4]
    assert batching.infer(pairs(1, 2, 3, 4, 5)).score.shape == (5,)
    assert engine.sizes == [3, 4, 5]


def test_who_comes_alone_waits_for_nobody() -> None:
    engine = HeldEngine()
    engine.go.set()
    batching = BatchingEngine(engine, 4)
    assert [float(batching.infer(pairs(255 // 5)).score[0]) for _ in range(3)] == pytest.approx([0.2] * 3)
    assert engine.sizes == [1, 1, 1]


def test_the_first_waits_for_others_but_no_longer_than_it_may(threads: ThreadPoolExecutor) -> None:
    engine = HeldEngine()
    engine.go.set()
    began = time.monotonic()
    BatchingEngine(engine, 2, wait_s=0.05).infer(pairs(1))
    assert time.monotonic() - began >= 0.05
    batching = BatchingEngine(engine, 2, wait_s=WAIT_S)
    first, second = (threads.submit(batching.infer, pairs(value)) for value in (1, 2))
    assert [len(future.result(WAIT_S / 2).score) for future in (first, second)] == [1, 1]
    assert engine.sizes == [1, 2]


def test_one_pair_s_failure_is_its_own(threads: ThreadPoolExecutor) -> None:
    engine = HeldEngine()
    batching = BatchingEngine(engine, 4, wait_s=WAIT_S)
    futures = [threads.submit(batching.infer, pairs(value)) for value in (1, 2, FAULT, 3)]
    engine.go.set()
    with pytest.raises(InferenceFailed, match="a fault"):
        futures[2].result(WAIT_S)
    assert [round(float(futures[i].result(WAIT_S).score[0]) * 255) for i in (0, 1, 3)] == [1, 2, 3]
    assert engine.sizes == [4, 1, 1, 1, 1]


def test_a_wrong_batch_joins_nothing(threads: ThreadPoolExecutor) -> None:
    engine = HeldEngine()
    batching = BatchingEngine(engine, 4)
    running = threads.submit(batching.infer, pairs(1))
    assert engine.began.acquire(timeout=WAIT_S)
    with pytest.raises(InvalidBatch):
        batching.infer({"ir": np.zeros((1, 3, 3, 1), np.uint8)})
    engine.go.set()
    running.result(WAIT_S)
    assert engine.sizes == [1]


def test_the_rest_is_the_engine_s() -> None:
    engine = HeldEngine()
    batching = BatchingEngine(engine, 4)
    assert batching.info is engine.info
    batching.warm_up()
    batching.close()
    assert (engine.sizes, engine.closed) == ([0], True)


class TestBatchedInt8(EngineContract):
    # The calls of the threads share batches, and the size of a batch changes the last bits of a score.
    thread_tolerance = EngineContract.batch_tolerance

    @pytest.fixture
    def engine(self) -> Engine:
        return BatchingEngine(OnnxCpuEngine(open_bundle(default_bundle()).read("model-int8-cpu"), "int8"), 4)

    @pytest.fixture
    def reference(self) -> Reference:
        bundle = open_bundle(default_bundle())
        alone = OnnxCpuEngine(bundle.read("model-int8-cpu"), "int8")
        return Reference(alone, read_golden(bundle.read("golden")).inputs, 1e-5)

    def test_golden(self, engine: Engine) -> None:
        check_golden(engine, read_golden(open_bundle(default_bundle()).read("golden")))
