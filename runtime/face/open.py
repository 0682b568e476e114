"""Which detector finds the face: one section of settings, the same for the service, the kiosk and the tools."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.core.errors import ConfigError
from runtime.face.detector import FaceLocator, HaarLocator
from runtime.face.fixed import FixedRegion, NoLocator

log = logging.getLogger("adsn.face")
MAX_MODEL_BYTES = 256 << 20


class FaceSettings(BaseModel):
    """How the face is found."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["haar", "yunet", "scrfd", "fixed", "none"] = Field(
        default="haar",
        description="haar: OpenCV's cascade. yunet, scrfd: your ONNX file. fixed: always region. none: boxes only.",
    )
    model: Path | None = Field(default=None, description="ONNX file of yunet or scrfd. None is shipped.")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="What that file must be; without it, its digest is logged.",
    )
    min_score: float | None = Field(default=None, gt=0, lt=1, description="Least score of a face; default: the kind's.")
    region: tuple[float, float, float, float] | None = Field(
        default=None, description="x, y, width and height of fixed, as fractions of the picture."
    )

    @model_validator(mode="after")
    def _whole(self) -> FaceSettings:
        if (self.kind in ("yunet", "scrfd")) != (self.model is not None):
            raise ValueError("kinds yunet and scrfd need model, an ONNX file; other kinds take none.")
        if (self.kind == "fixed") != (self.region is not None):
            raise ValueError("kind fixed needs region; other kinds take none.")
        if self.region is not None:
            FixedRegion(*self.region)
        return self


def open_locator(settings: FaceSettings | None = None) -> FaceLocator:
    """The locator that ``settings`` describe; the cascade without any.

    Raises:
        ConfigError: the file cannot be read, or is another one than named.
        EngineUnavailable: a package is missing, or the file is no such detector.
    """
    chosen = settings or FaceSettings()
    if chosen.kind == "haar":
        return HaarLocator()
    if chosen.kind == "none":
        return NoLocator()
    if chosen.region is not None:
        return FixedRegion(*chosen.region)
    assert chosen.model is not None
    model = read_model(chosen.model, chosen.sha256)
    if chosen.kind == "yunet":
        from runtime.face.yunet import YuNetLocator

        return YuNetLocator(model) if chosen.min_score is None else YuNetLocator(model, chosen.min_score)
    from runtime.face.scrfd import ScrfdLocator

    return ScrfdLocator(model) if chosen.min_score is None else ScrfdLocator(model, chosen.min_score)


def read_model(path: Path, sha256: str | None) -> bytes:
    """The bytes of a user's model, read once: what was checked is what is run.

    Raises:
        ConfigError: it cannot be read, is too large, or has another digest.
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
