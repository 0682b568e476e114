"""The model in use: one that is replaced is closed only after its last pair."""

from __future__ import annotations

import threading

from service.liveness.active_model import ActiveModel
from tests.support.fakes import FakeEngine, loaded
from tests.support.waiting import until


def test_a_replaced_model_is_closed_after_its_last_pair() -> None:
    engines = [FakeEngine(), FakeEngine()]
    waiting = [loaded(engine) for engine in engines]
    model = ActiveModel(lambda: waiting.pop(0))
    done = threading.Event()
    model.start(lambda error: done.set())
    until(lambda: model.loaded is not None or done.is_set())
    assert not done.is_set()
    with model.lease() as first:
        model.reload()
        until(lambda: model.require() is not first)
        assert not engines[0].closed
        with model.lease() as second:
            assert second.pipeline.engine is engines[1]
    assert engines[0].closed
    assert not engines[1].closed
    # There is no third one, so the second stays in use.
    model.reload()
    done.wait(0.1)
    assert model.require() is second
    model.close()
    assert engines[1].closed
