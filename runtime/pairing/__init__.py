"""Frames of several cameras matched to pairs."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.pairing.feed import CapturedPair, FeedStatus, PairFeed
    from runtime.pairing.illumination import FrameStats, Illumination, IlluminationClassifier, frame_stats
    from runtime.pairing.pairer import Match, Pairer
    from runtime.pairing.rig import Observer, Rig
    from runtime.pairing.rig_pairing import Pairing

__all__ = [
    "CapturedPair",
    "FeedStatus",
    "FrameStats",
    "Illumination",
    "IlluminationClassifier",
    "Match",
    "Observer",
    "PairFeed",
    "Pairer",
    "Pairing",
    "Rig",
    "frame_stats",
]

__getattr__ = lazy_names(
    __name__,
    {
        "feed": ("CapturedPair", "FeedStatus", "PairFeed"),
        "illumination": ("FrameStats", "Illumination", "IlluminationClassifier", "frame_stats"),
        "pairer": ("Match", "Pairer"),
        "rig": ("Observer", "Rig"),
        "rig_pairing": ("Pairing",),
    },
)
