"""Tests of the requirements on every engine. The tests of a backend subclass `EngineContract` and provide an engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.core.errors import InferenceFailed, InvalidBatch
from runtime.engines.base import Batch, Engine, Scores


def random_batch(engine: Engine, count: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {spec.name: rng.integers(0, 256, (count, *spec.shape)).astype(spec.dtype) for spec in engine.inputs}


def same(a: Scores, b: Scores, tolerance: float = 0.0) -> bool:
    return all(
        np.allclose(x, y, rtol=0, atol=tolerance)
        for x, y in ((a.score, b.score), (a.stream_scores, b.stream_scores), (a.attention, b.attention))
    )


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference for an engine: the float engine of the same bundle, inputs for both, and the largest difference stated
    in the bundle."""

    engine: Engine
    inputs: Batch
    stated: float


class EngineContract:
    """Tests of an engine. Subclasses define the fixtures ``engine`` and ``reference``. ``batch_tolerance``: largest
    effect of the batch size on a score. ``thread_tolerance``: largest effect of other threads on a score. It is not
    zero for engines that join the calls of several threads into one batch."""

    batch_tolerance = 1e-5
    thread_tolerance = 0.0

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_shapes_and_ranges(self, engine: Engine, count: int) -> None:
        scores = engine.infer(random_batch(engine, count))
        assert scores.score.shape == (count,)
        assert scores.stream_scores.shape == (count, 2)
        assert scores.attention.shape[:2] == (count, 2)
        assert scores.attention.ndim == 5
        for values in (scores.score, scores.stream_scores, scores.attention):
            assert values.dtype == np.float32
            assert ((values >= 0) & (values <= 1)).all()

    def test_the_same_input_gives_the_same_scores(self, engine: Engine) -> None:
        batch = random_batch(engine, 3)
        assert same(engine.infer(batch), engine.infer(batch))

    def test_batch_sizes_may_alternate(self, engine: Engine) -> None:
        batches = [random_batch(engine, count, seed=count) for count in (1, 3, 2)]
        first = [engine.infer(batch) for batch in batches]
        for _ in range(2):
            assert all(same(engine.infer(b), wanted) for b, wanted in zip(batches, first, strict=True))

    def test_a_pair_does_not_depend_on_its_batch(self, engine: Engine) -> None:
        batch = random_batch(engine, 4)
        whole = engine.infer(batch).score
        single = [engine.infer({k: v[i : i + 1] for k, v in batch.items()}).score[0] for i in range(4)]
        assert np.allclose(whole, single, atol=self.batch_tolerance)

    def test_the_batch_is_left_as_it_was(self, engine: Engine) -> None:
        batch = random_batch(engine, 2)
        before = {name: array.copy() for name, array in batch.items()}
        engine.infer(batch)
        assert all(np.array_equal(batch[name], before[name]) for name in batch)

    def test_threads_get_their_own_answers(self, engine: Engine) -> None:
        batches = [random_batch(engine, 1, seed) for seed in range(12)]
        expected = [engine.infer(batch) for batch in batches]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(engine.infer, batches))
        assert all(same(a, b, self.thread_tolerance) for a, b in zip(expected, found, strict=True))
        # The answers are far enough apart for this test to notice when threads are given each other's.
        assert not any(same(a, b, 10 * self.thread_tolerance) for a, b in combinations(expected, 2))

    def test_wrong_batches_are_refused(self, engine: Engine) -> None:
        good = random_batch(engine, 2)
        name = engine.inputs[0].name
        wrong: list[dict[str, NDArray[Any]]] = [
            {},
            {name: good[name]},
            {**good, "extra": good[name]},
            {**good, name: good[name].astype(np.float64)},
            {**good, name: good[name][:1]},
            {**good, name: good[name][:0]},
            {**good, name: good[name][:, :-1]},
            {**good, name: good[name][0]},
        ]
        for batch in wrong:
            with pytest.raises(InvalidBatch):
                engine.infer(batch)

    def test_values_that_are_no_numbers_never_become_a_score(self, engine: Engine) -> None:
        for spec in engine.inputs:
            for value in (np.nan, np.inf):
                batch = random_batch(engine, 2)
                wrong = batch[spec.name].astype(np.float32)
                wrong[1, 0, 0, 0] = value
                with pytest.raises(InvalidBatch):
                    engine.infer({**batch, spec.name: wrong})

    def test_agreement_with_fp32_within_the_stated_parity(self, engine: Engine, reference: Reference) -> None:
        difference = np.abs(engine.infer(reference.inputs).score - reference.engine.infer(reference.inputs).score)
        assert difference.max() <= reference.stated

    def test_info(self, engine: Engine) -> None:
        info = engine.info
        assert info.backend
        assert info.precision in ("fp32", "int8")
        assert info.versions
        assert info.threads >= 1
        assert not info.degraded

    def test_warm_up_then_close_twice_then_refuse(self, engine: Engine) -> None:
        engine.warm_up()
        batch = random_batch(engine, 1)
        engine.close()
        engine.close()
        with pytest.raises(InferenceFailed, match="closed"):
            engine.infer(batch)
