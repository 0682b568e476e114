"""Check that this build of OpenCV can decode video: builds for small container images leave FFmpeg out."""

from __future__ import annotations

import cv2

from runtime.core.errors import CameraUnsupported


def require_ffmpeg(name: str) -> None:
    """Check that OpenCV can decode video. Without this check OpenCV would say only that it could not open the video.

    Raises:
        CameraUnsupported: OpenCV was built without FFmpeg. The message contains ``name``, the address or file that
            needs it.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        raise CameraUnsupported(
            f"{name}: this build of OpenCV has no FFmpeg, which videos and network streams need. Install the package "
            f"from PyPI (pip install opencv-python-headless), or build the container image with "
            f"--build-arg OPENCV=wheel."
        )
