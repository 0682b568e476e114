"""Ways to find a face besides OpenCV's cascade: a user's detector, a fixed place, none. See `runtime.face.open`."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.face.detector import Face, FaceLocator, HaarLocator
    from runtime.face.open import open_locator
    from runtime.face.tracker import Tracker, TrackRule

__all__ = [
    "Face",
    "FaceLocator",
    "HaarLocator",
    "TrackRule",
    "Tracker",
    "open_locator",
]

__getattr__ = lazy_names(
    __name__,
    {
        "detector": ("Face", "FaceLocator", "HaarLocator"),
        "open": ("open_locator",),
        "tracker": ("Tracker", "TrackRule"),
    },
)
