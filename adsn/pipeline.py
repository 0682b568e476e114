"""The Python API: decide on a pair of images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.core.check import Check
from runtime.core.errors import BundleMissing, InputError, ModalityMissing
from runtime.core.values import MODALITIES, Box, Modality, Pair
from runtime.face.open import open_detector
from runtime.imaging.channel_order import looks_like_bgr
from runtime.imaging.decode import decode, decode_depth, grey_of
from runtime.liveness.decision import Decision
from runtime.liveness.open import LoadedModel, default_bundle, open_pipeline
from runtime.liveness.pair_pipeline import Assessment

ImageSource = NDArray[Any] | str | os.PathLike[str]
"""An image as an array, or the path of an image file."""
BoxLike = Box | tuple[float, float, float, float]
"""A face box in pixels: left edge, top edge, width and height."""
MAX_PIXELS = 16_000_000
"""Maximum number of pixels. Image files that declare more are refused before they are decoded."""
EXPECTED: Mapping[Modality, str] = {
    "rgb": "uint8 [H, W, 3] in RGB order",
    "ir": "uint8 [H, W] or [H, W, 1]",
    "depth": "float32 [H, W] or [H, W, 1] in millimetres, 0 where nothing was measured",
}


class ColourOrderWarning(UserWarning):
    """A face in an RGB array is bluer than skin: the array may be in OpenCV's BGR order."""


@dataclass(frozen=True, slots=True)
class Result:
    """The decision on one pair, and its basis.

    Grant access only if ``decision`` is ``"live"``; `is_live` checks that.

    ``score``: score of the network, 0 (attack) to 1 (bona fide), regardless of the quality gates. ``threshold``: lowest
    score that is live. ``reasons``: stable codes that explain ``spoof`` and ``uncertain``. ``stream_scores``: modality
    → score of its stream alone. ``face``: face box in pixels of the image ``face_image``. ``boxes``: modality → face
    box in that image. ``checks``: quality gates with measured value, accepted range and status. ``timing_ms``: stage →
    milliseconds.
    """

    decision: Decision
    score: float
    threshold: float
    reasons: tuple[str, ...]
    stream_scores: Mapping[Modality, float]
    face: Box
    face_image: Modality
    boxes: Mapping[Modality, Box]
    checks: tuple[Check, ...]
    timing_ms: Mapping[str, float]

    @property
    def is_live(self) -> bool:
        """Whether the decision is ``live``."""
        return self.decision == "live"

    def __bool__(self) -> bool:
        # A plain object would be truthy, so `if pipeline.assess(...)` would open the door to attacks.
        raise TypeError("a Result is neither true nor false. Ask for result.is_live or result.decision.")


class Pipeline:
    """Pipeline that decides whether the face in a pair of images is live. Create it with `load_pipeline`. Thread-safe.

    A pipeline is a context manager: at the end of the block its engine is closed.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._warned = False

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r}: {' + '.join(self.modalities)}, threshold {self.threshold:g}>"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._loaded.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self._loaded.manifest.version

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Images that the model takes, e.g. ``("rgb", "ir")``."""
        return tuple(self._loaded.pipeline.modalities)

    @property
    def threshold(self) -> float:
        """Lowest score that is live."""
        return self._loaded.pipeline.point.threshold

    def assess(
        self,
        rgb: ImageSource | None = None,
        ir: ImageSource | None = None,
        depth: ImageSource | None = None,
        *,
        boxes: Mapping[Modality, BoxLike] | None = None,
    ) -> Result:
        """Assess one pair of images of the same moment.

        Each image is an array or the path of an image file. Arrays are uint8 [H, W, 3] in RGB order (``rgb``), uint8
        [H, W] or [H, W, 1] (``ir``), and float32 [H, W] or [H, W, 1] in millimetres (``depth``). OpenCV reads colour
        images in BGR order: convert them with ``cv2.cvtColor(image, cv2.COLOR_BGR2RGB)``, or pass the path. A pipeline
        warns once (`ColourOrderWarning`) if the face in an RGB array is bluer than skin.

        Args:
            rgb: The RGB image, if the model takes one.
            ir: The IR image, if the model takes one.
            depth: The depth map, if the model takes one.
            boxes: Modality → face box (x, y, width, height) in pixels of that image. The face is detected in images
                without a box.

        Raises:
            NoFace: No box was given and no face was detected.
            InputError: An image is missing or cannot be used; the message names it.
            InferenceFailed: The network returned no valid score.
        """
        given = {"rgb": rgb, "ir": ir, "depth": depth}
        images: dict[str, Any] = {}
        for modality in MODALITIES:
            source = given[modality]
            if modality in self.modalities:
                images[modality] = _image(modality, source)
            elif source is not None:
                raise InputError(f"{modality}: this model takes {' and '.join(self.modalities)}. Leave {modality} out.")
        assessed = self._loaded.pipeline.assess(Pair(**images), _boxes(boxes or {}, self.modalities))
        if isinstance(rgb, np.ndarray) and not self._warned and looks_like_bgr(images["rgb"], assessed.boxes["rgb"]):
            self._warned = True
            warnings.warn(
                "rgb: the face is bluer than skin is. Arrays are in RGB order; OpenCV reads BGR: convert with "
                "cv2.cvtColor(image, cv2.COLOR_BGR2RGB), or pass the path. Said once for each pipeline.",
                ColourOrderWarning,
                stacklevel=2,
            )
        return _result(assessed, self.threshold)

    def close(self) -> None:
        """Close the engine. A closed pipeline cannot be used again."""
        self._loaded.pipeline.engine.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_pipeline(
    bundle: str | os.PathLike[str] | None = None,
    *,
    precision: Literal["int8", "fp32"] = "int8",
    backend: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu"] = "onnx-cpu",
    public_key: str | os.PathLike[str] | None = None,
) -> Pipeline:
    """Load a model and return a pipeline that is ready to assess pairs.

    Before this function returns, the digests of the bundle are verified, and the engine has reproduced the golden
    vectors.

    Args:
        bundle: Folder of a bundle, as written by ``adsn-export``. Default: ``ADSN_BUNDLE``, or else the shipped bundle,
            whose weights were trained on synthetic faces only.
        precision: ``int8``, or ``fp32`` for a bundle that contains the float model.
        backend: Engine to use; ``auto`` selects the fastest one that works on this machine.
        public_key: PEM file of the Ed25519 key that must have signed the bundle.

    Raises:
        BundleError: The bundle is missing or cannot be trusted.
        EngineError: The engine cannot be used on this machine.
    """
    if precision not in ("int8", "fp32"):
        raise ValueError(f"precision is 'int8' or 'fp32', not {precision!r}.")
    folder = default_bundle() if bundle is None else Path(bundle)
    if not folder.is_dir():
        raise BundleMissing(f"{folder}: no such folder. Pass the folder of a bundle, or nothing for the shipped one.")
    key = None if public_key is None else Path(public_key)
    return Pipeline(
        open_pipeline(folder, precision=precision, backend=backend, public_key=key, detector=open_detector())
    )


def _image(modality: Modality, source: ImageSource | None) -> NDArray[Any]:
    """Return an image in the layout of `Pair`, from an array or a file."""
    if source is None:
        raise ModalityMissing(
            f"{modality}: None where an image is needed. cv2.imread returns None for a file that it cannot read: check "
            "its path, or pass the path itself."
        )
    if isinstance(source, (str, os.PathLike)):
        return _from_file(modality, Path(source))
    if not isinstance(source, np.ndarray):
        raise InputError(f"{modality}: {type(source).__name__}; expected a NumPy array or the path of an image file.")
    return _from_array(modality, source)


def _from_file(modality: Modality, path: Path) -> NDArray[Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{modality}: {path} cannot be read: {error.strerror}.") from error
    try:
        if modality == "depth":
            return decode_depth(data, max_pixels=MAX_PIXELS)
        return decode(data, modality, max_pixels=MAX_PIXELS)
    except InputError as error:
        raise type(error)(f"{path}: {error.message}") from error


def _from_array(modality: Modality, image: NDArray[Any]) -> NDArray[Any]:
    wanted = np.float32 if modality == "depth" else np.uint8
    if image.ndim == 2:
        image = image[:, :, None]
    channels = (3,) if modality == "rgb" else (1, 3) if modality == "ir" else (1,)
    if image.dtype != wanted or image.ndim != 3 or image.shape[2] not in channels or not image.size:
        raise InputError(
            f"{modality}: an array of {image.dtype} {list(image.shape)}; expected {EXPECTED[modality]}."
            f"{_advice(modality, image)}"
        )
    if modality == "ir" and image.shape[2] == 3:
        # cv2.imread returns a grey file as three equal channels unless it is told to read grey.
        image = grey_of(image)[:, :, None]
    return np.ascontiguousarray(image)


def _advice(modality: Modality, image: NDArray[Any]) -> str:
    if modality == "rgb" and image.ndim == 3 and image.shape[2] == 1:
        return " Are rgb and ir swapped?"
    if modality == "rgb" and image.ndim == 3 and image.shape[2] == 4:
        return " Drop the alpha channel."
    if modality == "depth" and image.dtype == np.uint16:
        return " Convert it with astype(numpy.float32)."
    if modality != "depth" and image.dtype.kind == "f":
        return " Scale it to 0 to 255 and convert it with astype(numpy.uint8)."
    return ""


def _boxes(boxes: Mapping[Modality, BoxLike], modalities: tuple[Modality, ...]) -> dict[Modality, Box]:
    unknown = sorted(set(boxes) - set(modalities))
    if unknown:
        raise InputError(f"boxes: {', '.join(map(repr, unknown))}; this model takes {' and '.join(modalities)}.")
    found: dict[Modality, Box] = {}
    for modality, box in boxes.items():
        try:
            found[modality] = box if isinstance(box, Box) else Box(*(float(value) for value in box))
        except (TypeError, ValueError) as error:
            raise InputError(f"boxes[{modality!r}]: {box!r}; expected (x, y, width, height) in pixels.") from error
    return found


def _result(assessed: Assessment, threshold: float) -> Result:
    return Result(
        decision=assessed.decision,
        score=assessed.score,
        threshold=threshold,
        reasons=assessed.reasons,
        stream_scores=dict(zip(assessed.modalities, assessed.stream_scores, strict=True)),
        face=assessed.face.box,
        face_image=assessed.lead,
        boxes=dict(assessed.boxes),
        checks=assessed.checks,
        timing_ms=dict(assessed.timing_ms),
    )
