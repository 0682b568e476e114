"""Assess the pairs of the kiosk, using the stream pipeline and the geometry of the open cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from runtime.config.rig import RigSettings
from runtime.core.values import Box, Pair
from runtime.geometry.box_mapping import BoxMapper
from runtime.imaging.crop import crop
from runtime.liveness.drift_watch import DriftWatch
from runtime.liveness.open import LoadedModel
from runtime.liveness.stream_pipeline import StreamAssessment, StreamPipeline
from runtime.pairing.feed import CapturedPair, PairFeed
from service.liveness.rig_box_mapper import RigBoxMapper


class RigAssessor:
    """`service.kiosk.loop.PairAssessor` for a rig. Not thread-safe.

    ``moved``: called once a second while faces are assessed, with a message if the cameras have moved and with None
    otherwise.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        rig: RigSettings,
        feed: PairFeed,
        moved: Callable[[str | None], None] = lambda told: None,
    ) -> None:
        limits = replace(loaded.pipeline.limits, max_skew_ms=rig.max_skew_ms, max_age_ms=rig.max_age_ms)
        self._pipeline = replace(loaded.pipeline, limits=limits)
        self._feed, self._moved = feed, moved
        self._box_mappers = RigBoxMapper(rig.geometry)
        self._box_mapper: BoxMapper | None = None
        self._generation = -1
        self._stream = StreamPipeline(self._pipeline)
        self._drift_watch = DriftWatch(self._pipeline.box_mapper)

    def assess(self, captured: CapturedPair, now_ns: int) -> StreamAssessment:
        """Assess a pair.

        Raises:
            InferenceFailed: the engine returned no score.
            CalibrationInvalid: the geometry is damaged or belongs to other cameras.
        """
        if captured.pair.generation != self._generation:
            self._follow_cameras()
            self._generation = captured.pair.generation
        assessed = self._stream.assess(captured, now_ns)
        if assessed.assessment is not None and self._drift_watch.update(captured.pair, assessed.assessment):
            self._moved(self._drift_watch.advice or None)
        return assessed

    def reset(self) -> None:
        self._stream.reset()

    def self_test(self, pair: Pair) -> None:
        """Run the network on the middle of the images of a pair, whatever they show, and discard the result.

        Raises:
            InferenceFailed, ModalityMissing: the network cannot be run.
        """
        crops: dict[str, NDArray[Any]] = {}
        for modality in self._pipeline.modalities:
            image = pair.image(modality)
            height, width = image.shape[:2]
            edge = min(height, width) / 2
            middle = Box((width - edge) / 2, (height - edge) / 2, edge, edge)
            crops[modality] = crop(image, middle, self._pipeline.rule)[None]
        self._pipeline.engine.infer(crops)

    def _follow_cameras(self) -> None:
        """Switch to the geometry of the cameras that are open now."""
        box_mapper = self._box_mappers.of(self._feed.status())
        if box_mapper is not self._box_mapper:
            self._box_mapper = box_mapper
            self._stream = StreamPipeline(replace(self._pipeline, box_mapper=box_mapper))
            self._drift_watch = DriftWatch(box_mapper)
            self._moved(None)
