"""Liveness decisions on single pairs and on streams of pairs."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.liveness.active_light import ActiveLight, ActiveLightRule
    from runtime.liveness.decision import Decision, StrobeResponse, Verdict, decide
    from runtime.liveness.evidence import Evidence, EvidenceRule, EvidenceState, Observation
    from runtime.liveness.open import LoadedModel, default_bundle, open_engine, open_pipeline
    from runtime.liveness.pair_pipeline import Assessment, LivenessPipeline
    from runtime.liveness.quality import QualityLimits
    from runtime.liveness.stream_pipeline import StreamAssessment, StreamPipeline

__all__ = [
    "ActiveLight",
    "ActiveLightRule",
    "Assessment",
    "Decision",
    "Evidence",
    "EvidenceRule",
    "EvidenceState",
    "LivenessPipeline",
    "LoadedModel",
    "Observation",
    "QualityLimits",
    "StreamAssessment",
    "StreamPipeline",
    "StrobeResponse",
    "Verdict",
    "decide",
    "default_bundle",
    "open_engine",
    "open_pipeline",
]

__getattr__ = attach(
    __name__,
    {
        "ActiveLight": "runtime.liveness.active_light",
        "ActiveLightRule": "runtime.liveness.active_light",
        "Assessment": "runtime.liveness.pair_pipeline",
        "Decision": "runtime.liveness.decision",
        "Evidence": "runtime.liveness.evidence",
        "EvidenceRule": "runtime.liveness.evidence",
        "EvidenceState": "runtime.liveness.evidence",
        "LivenessPipeline": "runtime.liveness.pair_pipeline",
        "LoadedModel": "runtime.liveness.open",
        "Observation": "runtime.liveness.evidence",
        "QualityLimits": "runtime.liveness.quality",
        "StreamAssessment": "runtime.liveness.stream_pipeline",
        "StreamPipeline": "runtime.liveness.stream_pipeline",
        "StrobeResponse": "runtime.liveness.decision",
        "Verdict": "runtime.liveness.decision",
        "decide": "runtime.liveness.decision",
        "default_bundle": "runtime.liveness.open",
        "open_engine": "runtime.liveness.open",
        "open_pipeline": "runtime.liveness.open",
    },
)
