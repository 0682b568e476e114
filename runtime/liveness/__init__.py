"""From a pair, or a stream of pairs, to a decision."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.liveness.active_light import ActiveLight, LightRule
    from runtime.liveness.decision import Decision, Strobe, Verdict, decide
    from runtime.liveness.evidence import Evidence, EvidenceRule, EvidenceState, Observation
    from runtime.liveness.open import Loaded, default_bundle, open_engine, open_pipeline
    from runtime.liveness.pair_pipeline import Assessment, LivenessPipeline
    from runtime.liveness.quality import Limits
    from runtime.liveness.stream_pipeline import Observed, StreamPipeline

__all__ = [
    "ActiveLight",
    "Assessment",
    "Decision",
    "Evidence",
    "EvidenceRule",
    "EvidenceState",
    "LightRule",
    "Limits",
    "LivenessPipeline",
    "Loaded",
    "Observation",
    "Observed",
    "StreamPipeline",
    "Strobe",
    "Verdict",
    "decide",
    "default_bundle",
    "open_engine",
    "open_pipeline",
]

__getattr__ = lazy_names(
    __name__,
    {
        "active_light": ("ActiveLight", "LightRule"),
        "decision": ("Decision", "Strobe", "Verdict", "decide"),
        "evidence": ("Evidence", "EvidenceRule", "EvidenceState", "Observation"),
        "open": ("Loaded", "default_bundle", "open_engine", "open_pipeline"),
        "pair_pipeline": ("Assessment", "LivenessPipeline"),
        "quality": ("Limits",),
        "stream_pipeline": ("Observed", "StreamPipeline"),
    },
)
