"""YuNet, from the user's ONNX file, through OpenCV.

The file is not part of this project; the one it is made for is face_detection_yunet_2023mar.onnx of the OpenCV Zoo
(MIT).
"""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable
from runtime.core.values import Image
from runtime.face.detector import Face
from runtime.face.landmarks import largest

WORKING_EDGE = 640
"""Images larger than this are searched at this size."""
OVERLAP, MOST = 0.3, 50


class YuNetLocator:
    """`FaceLocator` by ``model``, the bytes of an ONNX file. ``min_score``: 0 to 1.

    Raises:
        EngineUnavailable: OpenCV lacks the class, or the file is no YuNet.
    """

    def __init__(self, model: bytes, min_score: float = 0.7) -> None:
        if not hasattr(cv2, "FaceDetectorYN"):
            raise EngineUnavailable(f"OpenCV {cv2.__version__} has no YuNet. Install opencv-python-headless>=4.10,<5.")
        self._model, self._min_score = np.frombuffer(model, np.uint8), min_score
        # A detector keeps the size it was last asked about, so each thread owns one.
        self._local = threading.local()
        try:
            self._find(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise EngineUnavailable(
                "OpenCV cannot run the face detector; it must be YuNet's ONNX file. It said: "
                + str(error).strip().splitlines()[0][:200]
            ) from error

    def locate(self, image: Image, smallest: float = 0.0) -> Face | None:
        """As `FaceLocator.locate`.

        Raises:
            EngineUnavailable: OpenCV failed on this image.
        """
        height, width = image.shape[:2]
        scale = min(1.0, WORKING_EDGE / max(height, width))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8).reshape(*size[::-1], -1)
        code = cv2.COLOR_GRAY2BGR if image.shape[2] == 1 else cv2.COLOR_RGB2BGR
        try:
            rows = self._find(np.asarray(cv2.cvtColor(image, code), np.uint8))
        except cv2.error as error:
            raise EngineUnavailable("OpenCV failed in the face detector; name another one in face.kind.") from error
        # x, y, w, h, five points from the left eye to the right corner of the mouth as the picture has them, score.
        marks = rows[:, 4:14].reshape(-1, 5, 2) / np.float32(scale)
        return largest(marks, rows[:, 14], (height, width), smallest)

    def _find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows [N, 15] for an image uint8 [H, W, 3]."""
        detector = getattr(self._local, "detector", None)
        if detector is None:
            empty = np.zeros(0, np.uint8)
            detector = cv2.FaceDetectorYN.create(
                "onnx",
                self._model,
                empty,
                (64, 64),
                self._min_score,
                OVERLAP,
                MOST,
            )
            self._local.detector = detector
        detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, faces = detector.detect(bgr)
        return np.zeros((0, 15), np.float32) if faces is None else np.asarray(faces, np.float32).reshape(-1, 15)
