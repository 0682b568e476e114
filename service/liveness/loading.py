"""Load the model selected by the settings of the HTTP service."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from runtime.bundle.measured import apcer_over_limit, apcer_warning
from runtime.engines.batching import BatchingEngine
from runtime.face.open import open_detector
from runtime.liveness.open import LoadedModel, open_pipeline
from service.config.settings import Settings
from service.process.memory import freeze_collector

log = logging.getLogger("adsn.service")


def warn_of_model(loaded: LoadedModel) -> None:
    """Log a warning about the attack species whose APCER in the model's manifest is too high."""
    warning = apcer_warning(apcer_over_limit(loaded.manifest, loaded.pipeline.engine.info.precision))
    if warning:
        log.warning("the model %s %s %s", loaded.manifest.name, loaded.manifest.version, warning)


def open_model(settings: Settings, bundle: Path | None = None) -> LoadedModel:
    """Return a pipeline that has reproduced its golden vectors. ``bundle``: overrides the folder in the settings.

    Raises:
        BundleError: the bundle cannot be trusted.
        EngineError: the engine cannot be used.
        ConfigError: the file of the face detector cannot be used.
    """
    loaded = open_pipeline(
        settings.bundle if bundle is None else bundle,
        precision=settings.precision,
        profile=settings.profile,
        public_key=settings.bundle_key,
        backend=settings.engine,
        required=settings.require_engine,
        detector=open_detector(settings.face),
        remote=settings.remote.engine(),
    )
    warn_of_model(loaded)
    batch = settings.batch
    if batch.pairs > 1:
        engine = BatchingEngine(loaded.pipeline.engine, batch.pairs, batch.wait_ms / 1000)
        loaded = replace(loaded, pipeline=replace(loaded.pipeline, engine=engine))
    freeze_collector()
    return loaded
