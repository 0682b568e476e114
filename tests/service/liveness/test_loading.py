"""Loading the model that the service's settings select."""

from __future__ import annotations

from runtime.engines.batching import BatchingEngine
from service.config.settings import read_settings
from service.liveness.loading import open_model


def test_pairs_are_joined_only_where_the_settings_ask_for_it() -> None:
    assert not isinstance(open_model(read_settings(environ={})).pipeline.engine, BatchingEngine)
    loaded = open_model(read_settings(environ={"ADSN_BATCH__PAIRS": "8", "ADSN_BATCH__WAIT_MS": "2"}))
    engine = loaded.pipeline.engine
    assert isinstance(engine, BatchingEngine)
    assert (engine.most, engine.wait_s) == (8, 0.002)
    engine.warm_up()
    engine.close()
