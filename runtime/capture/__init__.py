"""Sources of frames. One module here, `simulated.rig`, is the only place where runtime meets the simulated world."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.capture.open import check_uri, open_source
    from runtime.capture.source import Source, SourceInfo
    from runtime.capture.status import CameraState, CameraStatus
    from runtime.capture.supervisor import Supervisor
    from runtime.capture.uri import CameraUri, parse_uri

__all__ = [
    "CameraState",
    "CameraStatus",
    "CameraUri",
    "Source",
    "SourceInfo",
    "Supervisor",
    "check_uri",
    "open_source",
    "parse_uri",
]

__getattr__ = lazy_names(
    __name__,
    {
        "open": ("check_uri", "open_source"),
        "source": ("Source", "SourceInfo"),
        "status": ("CameraState", "CameraStatus"),
        "supervisor": ("Supervisor",),
        "uri": ("CameraUri", "parse_uri"),
    },
)
