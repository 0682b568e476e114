"""Matching of the frames of two cameras into pairs."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.pairing.feed import CapturedPair, FeedStatus, PairFeed
    from runtime.pairing.illumination import FrameStats, Illumination, IlluminationClassifier, frame_stats
    from runtime.pairing.pairer import MatchedFrames, Pairer
    from runtime.pairing.rig import Rig, RigObserver
    from runtime.pairing.rig_pairing import RigPairing

__all__ = [
    "CapturedPair",
    "FeedStatus",
    "FrameStats",
    "Illumination",
    "IlluminationClassifier",
    "MatchedFrames",
    "PairFeed",
    "Pairer",
    "Rig",
    "RigObserver",
    "RigPairing",
    "frame_stats",
]

__getattr__ = attach(
    __name__,
    {
        "CapturedPair": "runtime.pairing.feed",
        "FeedStatus": "runtime.pairing.feed",
        "FrameStats": "runtime.pairing.illumination",
        "Illumination": "runtime.pairing.illumination",
        "IlluminationClassifier": "runtime.pairing.illumination",
        "MatchedFrames": "runtime.pairing.pairer",
        "PairFeed": "runtime.pairing.feed",
        "Pairer": "runtime.pairing.pairer",
        "Rig": "runtime.pairing.rig",
        "RigObserver": "runtime.pairing.rig",
        "RigPairing": "runtime.pairing.rig_pairing",
        "frame_stats": "runtime.pairing.illumination",
    },
)
