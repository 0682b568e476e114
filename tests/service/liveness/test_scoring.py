"""Inputs of scoring: limits of the input kind, geometry of the open cameras, boxes of the request."""

from __future__ import annotations

from dataclasses import replace

from runtime.core.values import Box
from runtime.geometry.box_mapping import ScaleMapper
from runtime.liveness.open import LoadedModel
from service.http.parsing import Meta
from service.liveness.scoring import AdjustedModel, boxes_of
from tests.support.fakes import manifest
from tests.support.scenes import pipeline


def test_a_model_is_adjusted_once_for_as_long_as_nothing_changes() -> None:
    first, box_mapper = LoadedModel(pipeline(), manifest(), "0" * 64), ScaleMapper()
    adjusted = AdjustedModel(max_age_ms=700, max_skew_ms=3)
    used = adjusted.of(first, box_mapper)
    assert (used.pipeline.limits.max_age_ms, used.pipeline.limits.max_skew_ms) == (700, 3)
    assert used.pipeline.box_mapper is box_mapper
    assert adjusted.of(first, box_mapper) is used
    # For a different rig the adjusted model is different.
    assert adjusted.of(first, ScaleMapper()) is not used
    second = replace(first, model_sha256="1" * 64)
    assert adjusted.of(second, box_mapper).model_sha256 == "1" * 64


def test_without_limits_and_geometry_of_its_own_the_model_s_stay() -> None:
    loaded = LoadedModel(pipeline(), manifest(), "0" * 64)
    used = AdjustedModel(max_age_ms=700).of(loaded).pipeline
    assert used.limits.max_skew_ms == loaded.pipeline.limits.max_skew_ms
    assert used.box_mapper is loaded.pipeline.box_mapper


def test_the_face_box_is_that_of_the_infrared_picture_where_there_is_no_colour() -> None:
    meta = Meta(face_box=[1, 2, 30, 40], depth_face_box=[5, 6, 70, 80])
    box, depth = Box(1, 2, 30, 40), Box(5, 6, 70, 80)
    assert boxes_of(meta, ("rgb", "depth")) == {"rgb": box, "depth": depth}
    assert boxes_of(meta, ("ir", "depth"))["ir"] == box
    assert boxes_of(Meta(), ("rgb", "ir")) == {}
