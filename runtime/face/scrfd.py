"""SCRFD face detector: runs the user's ONNX file with ONNX Runtime.

The decoder follows the published description (Guo et al., "Sample and Computation Redistribution for Efficient Face
Detection", 2021) and InsightFace's documented outputs. This project includes no weights. InsightFace's own weights are
for non-commercial use only, so check the licence of the file that you use.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import EngineUnavailable
from runtime.core.values import Image
from runtime.engines.onnx import import_onnxruntime
from runtime.face.detector import DetectorInfo, Face
from runtime.face.landmarks import largest_face

STRIDES, ANCHORS = (8, 16, 32), 2
EDGE = 640
"""Edge in pixels of the square input, used if the file does not fix it."""
MEAN, SCALE, OVERLAP = 127.5, 1 / 128.0, 0.4


class ScrfdDetector:
    """SCRFD as a `FaceDetector`.

    ``model``: bytes of an ONNX file with landmarks (…_kps.onnx). ``min_score``: minimum confidence, 0 to 1.

    Raises:
        EngineUnavailable: ONNX Runtime is not installed or refuses the file, or the file is not an SCRFD model with
            landmarks.
    """

    def __init__(self, model: bytes, min_score: float = 0.5, info: DetectorInfo | None = None) -> None:
        self.info = info or DetectorInfo("scrfd")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a separate exception type for each kind of failure
            raise EngineUnavailable(f"ONNX Runtime {ort.__version__} refused the face detector: {error}") from error
        self._min_score = min_score
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        edges = entry.shape[2:] if len(entry.shape) == 4 else []
        fixed = all(isinstance(v, int) and v > 0 for v in edges)
        self._size: tuple[int, int] = (int(edges[0]), int(edges[1])) if fixed and edges else (EDGE, EDGE)
        if any(v % STRIDES[-1] for v in self._size) or len(self._session.get_outputs()) != 3 * len(STRIDES):
            raise EngineUnavailable(
                "this ONNX file is no SCRFD with landmarks: it must have nine outputs (scores, boxes and landmarks at "
                "strides of 8, 16 and 32) and an input with edges that are multiples of 32. Take one named _kps."
            )
        self._find(np.zeros((*self._size, 3), np.uint8))

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        """See `FaceDetector.detect`.

        Raises:
            EngineUnavailable: ONNX Runtime failed on this image.
        """
        height, width = image.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8).reshape(size[1], size[0], -1)
        canvas = np.zeros((*self._size, 3), np.uint8)
        canvas[: size[1], : size[0]] = small
        marks, scores = self._find(canvas)
        return largest_face(marks / np.float32(scale), scores, (height, width), smallest)

    def _find(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return landmarks [N, 5, 2] and scores [N] for an RGB image that has the size of the network's input."""
        blob = ((canvas.astype(np.float32) - MEAN) * np.float32(SCALE)).transpose(2, 0, 1)[None]
        try:
            outputs = self._session.run(None, {self._input: np.ascontiguousarray(blob)})
        except Exception as error:  # see above: many exception types
            raise EngineUnavailable(f"ONNX Runtime failed in the face detector: {error}") from error
        return decode([np.asarray(output) for output in outputs], self._size, self._min_score)


def decode(
    outputs: list[NDArray[Any]], size: tuple[int, int], min_score: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode the nine outputs of SCRFD into landmarks [N, 5, 2] and scores [N], best first.

    ``size``: height and width of the input. The outputs are scores [K, 1] for each of three strides, then distances to
    the edges of the box [K, 4], then offsets of the landmarks [K, 10]. Distances and offsets are in units of the
    stride. Each cell has two anchors, so K = 2 · cells, row by row.

    Raises:
        EngineUnavailable: an output has a different shape.
    """
    boxes, marks, scores = [], [], []
    for level, stride in enumerate(STRIDES):
        rows, columns = size[0] // stride, size[1] // stride
        count = rows * columns * ANCHORS
        score, distance, offset = (outputs[level + k * len(STRIDES)] for k in range(3))
        if score.size != count or distance.size != count * 4 or offset.size != count * 10:
            raise EngineUnavailable(
                f"this ONNX file is no SCRFD: {score.size} scores at stride {stride} where {count} are expected."
            )
        flat = score.reshape(count).astype(np.float32)
        # A NaN score compares false and is not chosen.
        chosen = np.flatnonzero(flat >= min_score)
        cell = chosen // ANCHORS
        centres = np.stack([cell % columns, cell // columns], 1).astype(np.float32) * stride
        reach = distance.reshape(count, 4)[chosen].astype(np.float32) * stride
        boxes.append(np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], 1))
        marks.append(centres[:, None] + offset.reshape(count, 5, 2)[chosen].astype(np.float32) * stride)
        scores.append(flat[chosen])
    every, all_marks, all_scores = np.concatenate(boxes), np.concatenate(marks), np.concatenate(scores)
    sides = np.concatenate([every[:, :2], every[:, 2:] - every[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), all_scores.tolist(), min_score, OVERLAP) if len(sides) else ()
    order = np.asarray(kept, np.int64).reshape(-1)
    return all_marks[order], all_scores[order]
