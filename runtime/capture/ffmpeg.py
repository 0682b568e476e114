"""Whether this OpenCV can decode video: builds for small images leave FFmpeg out."""

from __future__ import annotations

import cv2

from runtime.core.errors import CameraUnsupported


def require_ffmpeg(name: str) -> None:
    """Raise before OpenCV is asked, which says only that it could not open.

    Raises:
        CameraUnsupported: OpenCV was built without FFmpeg; ``name`` is the address or file that needs it.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        raise CameraUnsupported(
            f"{name}: this build of OpenCV has no FFmpeg, which reads videos and network streams. The package from "
            f"PyPI has it (pip install opencv-python-headless); the container image has it when built with "
            f"--build-arg OPENCV=wheel."
        )
