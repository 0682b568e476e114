"""The network of YuNet, run by ONNX Runtime or, if that is not installed, by OpenCV.

ONNX Runtime takes less than half the time of OpenCV. The decoder follows OpenCV's FaceDetectorYN, so both find the same
faces.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.bundle.onnx_check import fields
from runtime.core.errors import EngineUnavailable, NotAModel
from runtime.engines.onnx import import_onnxruntime

log = logging.getLogger("adsn.face")
OVERLAP, MOST = 0.3, 50
DIVISOR = 32
"""Images are padded to multiples of this number of pixels, as in OpenCV."""
KEPT_SIZES, KEPT_EDGE = 3, 640
"""Number of image sizes for which each thread caches an OpenCV detector, and edge in pixels above which ONNX Runtime's
memory is freed after the run."""
HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
STRIDES = (8, 16, 32)
COLUMNS = 15
"""Columns of a result: x, y, w, h, x and y of five landmarks, score."""
GRAPH, INPUT, OUTPUT, VALUE_INFO = 7, 11, 12, 13
"""Field numbers in onnx.proto: the graph of a model, and the inputs, outputs and declared shapes of a graph."""


class YuNetNetwork(Protocol):
    """A YuNet network with its decoder. Thread-safe."""

    def find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return rows [N, 15] for an image uint8 [H, W, 3]: x, y, w, h, the five landmarks' x and y, score.

        Raises:
            EngineUnavailable: the network failed on this image.
        """
        ...


def open_network(model: bytes, min_score: float) -> YuNetNetwork:
    """Open ``model`` with ONNX Runtime if it is installed and accepts the file, otherwise with OpenCV.

    Raises:
        EngineUnavailable: the file is not YuNet, or OpenCV lacks the class.
    """
    try:
        return OnnxYuNet(model, min_score)
    except EngineUnavailable as error:
        network = OpenCvYuNet(model, min_score)
        log.info("OpenCV runs YuNet, which takes twice as long. %s", error.message)
        return network


class OnnxYuNet:
    """`YuNetNetwork` that ONNX Runtime runs on the calling thread.

    Raises:
        EngineUnavailable: ONNX Runtime is not installed or refuses the file, or the file is not YuNet.
    """

    def __init__(self, model: bytes, min_score: float) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(with_open_size(model), options, providers=["CPUExecutionProvider"])
        except NotAModel as error:
            raise EngineUnavailable(f"the face detector's file is no YuNet: {error.message}") from error
        except Exception as error:  # ONNX Runtime has a separate exception type for each kind of failure
            raise EngineUnavailable(f"ONNX Runtime {ort.__version__} refused the face detector: {error}") from error
        self._shrink = ort.RunOptions()
        self._shrink.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._min_score = min_score
        self._input = self._session.get_inputs()[0].name
        names = {output.name for output in self._session.get_outputs()}
        self._outputs = [f"{head}_{stride}" for head in HEADS for stride in STRIDES]
        missing = sorted(set(self._outputs) - names)
        if missing:
            raise EngineUnavailable(f"the face detector's file is no YuNet: it lacks the output {missing[0]}.")
        self.find(np.zeros((2 * DIVISOR, 2 * DIVISOR, 3), np.uint8))

    def find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the rows of the faces; see `YuNetNetwork.find`."""
        blob = padded_planes(bgr)
        # Free the memory after the run if the image was large.
        options = self._shrink if max(blob.shape) > KEPT_EDGE else None
        try:
            values = self._session.run(self._outputs, {self._input: blob}, options)
        except Exception as error:  # see above: many exception types
            raise EngineUnavailable(f"ONNX Runtime failed in the face detector: {error}") from error
        rows, columns = blob.shape[2:]
        return decode(dict(zip(self._outputs, values, strict=True)), rows, columns, self._min_score)


class OpenCvYuNet:
    """`YuNetNetwork` that uses ``cv2.FaceDetectorYN``.

    Raises:
        EngineUnavailable: OpenCV lacks the class, or the file is not YuNet.
    """

    def __init__(self, model: bytes, min_score: float) -> None:
        if not hasattr(cv2, "FaceDetectorYN"):
            raise EngineUnavailable(f"OpenCV {cv2.__version__} has no YuNet. Install opencv-python-headless>=4.10,<5.")
        self._model, self._min_score = np.frombuffer(model, np.uint8), min_score
        # A detector keeps its last input size and is not thread-safe, so each thread has its own.
        self._local = threading.local()
        try:
            require_yunet(self._model)
            self._detect(np.zeros((2 * DIVISOR, 2 * DIVISOR, 3), np.uint8))
        except cv2.error as error:
            raise EngineUnavailable(
                "OpenCV cannot run the face detector; it must be YuNet's ONNX file. It said: "
                + str(error).strip().splitlines()[0][:200]
            ) from error

    def find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the rows of the faces; see `YuNetNetwork.find`."""
        try:
            return self._detect(bgr)
        except cv2.error as error:
            raise EngineUnavailable("OpenCV failed in the face detector; name another one in face.kind.") from error

    def _detect(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        detector = self._detector(bgr.shape[0], bgr.shape[1])
        detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, faces = detector.detect(bgr)
        return no_rows() if faces is None else np.asarray(faces, np.float32).reshape(-1, COLUMNS)

    def _detector(self, height: int, width: int) -> cv2.FaceDetectorYN:
        """Return this thread's detector for a padded size. There is one for each size, because changing the size of a
        detector takes a millisecond."""
        kept: OrderedDict[tuple[int, int], cv2.FaceDetectorYN] | None = getattr(self._local, "kept", None)
        if kept is None:
            kept = self._local.kept = OrderedDict()
        size = -(-height // DIVISOR), -(-width // DIVISOR)
        detector = kept.pop(size, None)
        if detector is None:
            detector = cv2.FaceDetectorYN.create(
                "onnx", self._model, np.zeros(0, np.uint8), (64, 64), self._min_score, OVERLAP, MOST
            )
        if max(size) * DIVISOR <= KEPT_EDGE:
            kept[size] = detector
            if len(kept) > KEPT_SIZES:
                kept.popitem(last=False)
        return detector


def require_yunet(model: NDArray[np.uint8]) -> None:
    """Check that an ONNX file has the outputs of YuNet. OpenCV reads them without checking their sizes.

    Raises:
        EngineUnavailable: the outputs differ. cv2.error: OpenCV cannot read or run the file.
    """
    edge = 64
    net = cv2.dnn.readNetFromONNX(model)
    wanted = {f"{head}_{stride}": (edge // stride) ** 2 * width for stride in STRIDES for head, width in HEADS.items()}
    missing = sorted(set(wanted) - set(net.getUnconnectedOutLayersNames()))
    if missing:
        raise EngineUnavailable(
            f"the face detector's file is no YuNet: it lacks the output {missing[0]}. Name "
            "face_detection_yunet_2023mar.onnx of the OpenCV Zoo."
        )
    net.setInput(np.zeros((1, 3, edge, edge), np.float32))
    for name, output in zip(wanted, net.forward(list(wanted)), strict=True):
        if output.size != wanted[name]:
            raise EngineUnavailable(
                f"the face detector's file is no YuNet: its output {name} has {output.size} values for a picture of "
                f"{edge}×{edge} pixels, not {wanted[name]}."
            )


def no_rows() -> NDArray[np.float32]:
    return np.zeros((0, COLUMNS), np.float32)


def padded_planes(bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert an image, uint8 [H, W, 3], to float32 [1, 3, H', W'].

    It is zero-padded at the bottom and right to multiples of `DIVISOR`.
    """
    height, width = bgr.shape[:2]
    below, right = -height % DIVISOR, -width % DIVISOR
    if below or right:
        bgr = np.asarray(cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
    return np.asarray(cv2.dnn.blobFromImage(bgr), np.float32)


@lru_cache(maxsize=16)
def cells(rows: int, columns: int) -> NDArray[np.float32]:
    """Return float32 [K, 3]: column, row and stride of each grid cell for an input of ``rows`` × ``columns`` pixels."""
    parts = []
    for stride in STRIDES:
        down, across = np.mgrid[: rows // stride, : columns // stride]
        parts.append(np.stack([across.ravel(), down.ravel(), np.full(down.size, stride)], 1))
    return np.concatenate(parts).astype(np.float32)


def decode(outputs: Mapping[str, NDArray[Any]], rows: int, columns: int, min_score: float) -> NDArray[np.float32]:
    """Return rows [N, 15], best first, from YuNet's outputs for an input of ``rows`` × ``columns`` pixels.

    ``outputs``: name → values for the cells of one stride, row by row. Each cell has one value in ``cls_…`` and
    ``obj_…``, four in ``bbox_…`` and ten in ``kps_…``.

    Raises:
        EngineUnavailable: an output has the wrong size.
    """
    heads = {}
    for head, values in HEADS.items():
        parts = [outputs[f"{head}_{stride}"].reshape(-1) for stride in STRIDES]
        for stride, part in zip(STRIDES, parts, strict=True):
            wanted = (rows // stride) * (columns // stride) * values
            if part.size != wanted:
                raise EngineUnavailable(
                    f"the face detector's file is no YuNet: its output {head}_{stride} has {part.size} values for a "
                    f"picture of {columns}×{rows} pixels, not {wanted}."
                )
        heads[head] = np.concatenate(parts).reshape(-1, values)
    both = (np.clip(heads["cls"], 0, 1) * np.clip(heads["obj"], 0, 1))[:, 0]
    # A NaN score compares false and is not chosen.
    chosen = np.flatnonzero(both >= min_score * min_score)
    if not len(chosen):
        return no_rows()
    where, box = cells(rows, columns)[chosen], heads["bbox"][chosen]
    origin, stride_of = where[:, :2], where[:, 2:]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.exp(box[:, 2:]) * stride_of
        corner = (origin + box[:, :2]) * stride_of - size / 2
        landmarks = (heads["kps"][chosen] + np.tile(origin, 5)) * stride_of
    found = np.concatenate([corner, size, landmarks, np.sqrt(both[chosen])[:, None]], 1).astype(np.float32)
    found = found[np.isfinite(found).all(1)]
    kept = cv2.dnn.NMSBoxes(whole_boxes(found), found[:, 14].tolist(), min_score, OVERLAP, top_k=MOST)
    return found[np.asarray(kept, np.int64).reshape(-1)]


def whole_boxes(found: NDArray[np.float32]) -> list[list[int]]:
    """Return the boxes of rows [N, 15], rounded to whole pixels for the measurement of overlaps."""
    limit = float(1 << 20)
    boxes: list[list[int]] = np.clip(found[:, :4], -limit, limit).astype(int).tolist()
    return boxes


def with_open_size(model: bytes) -> bytes:
    """Return YuNet's ONNX file with dynamic input height and width and without the shapes of later tensors.

    The published file declares 640 × 640, which ONNX Runtime enforces. It is edited as a protocol buffer, so that
    serving needs no ``onnx`` package.

    Raises:
        NotAModel: the bytes are not an ONNX model with one input.
    """
    out = b""
    for number, value in fields(memoryview(model)):
        if number == GRAPH and not isinstance(value, int):
            value = memoryview(_with_open_graph(value))
        out += _entry(number, value)
    return out


def _with_open_graph(graph: memoryview) -> bytes:
    out, inputs = [], 0
    for number, value in fields(graph):
        if number == INPUT and not isinstance(value, int):
            inputs += 1
            value = memoryview(_value_info(_name_of(value), (1, 3, "height", "width")))
        elif number == OUTPUT and not isinstance(value, int):
            value = memoryview(_value_info(_name_of(value), None))
        elif number == VALUE_INFO:
            continue
        out.append(_entry(number, value))
    if inputs != 1:
        raise NotAModel(f"it has {inputs} inputs, not one.")
    return b"".join(out)


def _name_of(value_info: memoryview) -> bytes:
    name = dict(fields(value_info)).get(1, b"")
    return b"" if isinstance(name, int) else bytes(name)


def _value_info(name: bytes, shape: tuple[int | str, ...] | None) -> bytes:
    """Encode the name and shape of a float tensor. None: any shape."""
    tensor = _entry(1, 1)
    if shape is not None:
        dims = (_entry(1, d) if isinstance(d, int) else _entry(2, memoryview(d.encode())) for d in shape)
        tensor += _entry(2, memoryview(b"".join(_entry(1, memoryview(dim)) for dim in dims)))
    return _entry(1, memoryview(name)) + _entry(2, memoryview(_entry(1, memoryview(tensor))))


def _entry(number: int, value: int | memoryview) -> bytes:
    """Encode a protocol-buffer field: a number, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + bytes(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
