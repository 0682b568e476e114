"""Frame sources. Within ``runtime``, only `simulated.rig` imports the package ``synthetic``."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.capture.open import check_uri, open_source
    from runtime.capture.source import Source, SourceInfo
    from runtime.capture.status import CameraState, CameraStatus
    from runtime.capture.supervisor import CameraSupervisor
    from runtime.capture.uri import CameraUri, parse_uri

__all__ = [
    "CameraState",
    "CameraStatus",
    "CameraSupervisor",
    "CameraUri",
    "Source",
    "SourceInfo",
    "check_uri",
    "open_source",
    "parse_uri",
]

__getattr__ = attach(
    __name__,
    {
        "CameraState": "runtime.capture.status",
        "CameraStatus": "runtime.capture.status",
        "CameraSupervisor": "runtime.capture.supervisor",
        "CameraUri": "runtime.capture.uri",
        "Source": "runtime.capture.source",
        "SourceInfo": "runtime.capture.source",
        "check_uri": "runtime.capture.open",
        "open_source": "runtime.capture.open",
        "parse_uri": "runtime.capture.uri",
    },
)
