"""Face detection: detectors, location of the face in each image of a pair, tracking, and head pose."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.face.detector import Face, FaceDetector, HaarDetector
    from runtime.face.open import open_detector
    from runtime.face.tracker import Tracker, TrackRule

__all__ = [
    "Face",
    "FaceDetector",
    "HaarDetector",
    "TrackRule",
    "Tracker",
    "open_detector",
]

__getattr__ = attach(
    __name__,
    {
        "Face": "runtime.face.detector",
        "FaceDetector": "runtime.face.detector",
        "HaarDetector": "runtime.face.detector",
        "TrackRule": "runtime.face.tracker",
        "Tracker": "runtime.face.tracker",
        "open_detector": "runtime.face.open",
    },
)
