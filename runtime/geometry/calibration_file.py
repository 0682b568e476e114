"""The calibration file of a rig: readable JSON with a fixed schema, validated before use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from runtime.capture.source import SourceInfo
from runtime.core.errors import CalibrationInvalid
from runtime.core.files import write_atomically
from runtime.core.user_text import without_mark
from runtime.core.values import Modality
from runtime.geometry.box_mapping import BoxMapper, CalibratedMapper, CameraModel, RigGeometry, ScaleMapper

SCHEMA_VERSION: Literal[1] = 1
MAX_BYTES = 1 << 20
FARTHEST_APART_MM = 2000.0
ROUND_TRIP_PX = 0.05
"""Maximum error, in pixels, when pixels are mapped to rays and back. A lens model that folds over inside the image has
a larger one."""

Row = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class GeometryEntry(BaseModel):
    """Base of all entries: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraEntry(GeometryEntry):
    """See `runtime.geometry.box_mapping.CameraModel`. Focal lengths and principal point: pixels; translation: mm."""

    identity: str = Field(min_length=1)
    width: int = Field(ge=16, le=16384)
    height: int = Field(ge=16, le=16384)
    focal: tuple[Positive, Positive]
    centre: tuple[FiniteFloat, FiniteFloat]
    distortion: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    rotation: tuple[Row, Row, Row]
    translation_mm: Row
    rms_px: NotNegative

    @model_validator(mode="after")
    def _possible(self) -> CameraEntry:
        turn = np.array(self.rotation)
        if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-6 or np.linalg.det(turn) < 0:
            raise ValueError("rotation is not a rotation matrix")
        if np.abs(self.translation_mm).max() > FARTHEST_APART_MM:
            raise ValueError(f"translation_mm: cameras of a rig are at most {FARTHEST_APART_MM:g} mm apart")
        if not (0 <= self.centre[0] <= self.width and 0 <= self.centre[1] <= self.height):
            raise ValueError("centre lies outside the image")
        camera = self.camera()
        x, y = np.linspace(0, self.width, 9), np.linspace(0, self.height, 9)
        pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        back = camera.pixels(np.column_stack([camera.rays(pixels), np.ones(len(pixels))]))
        if not np.isfinite(back).all() or np.abs(back - pixels).max() > ROUND_TRIP_PX:
            raise ValueError("distortion folds over inside the image; calibrate with more views near its edges")
        return self

    def camera(self) -> CameraModel:
        (fx, fy), (cx, cy) = self.focal, self.centre
        return CameraModel(
            identity=self.identity,
            width=self.width,
            height=self.height,
            matrix=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64),
            distortion=np.array(self.distortion, np.float64),
            rotation=np.array(self.rotation, np.float64),
            translation=np.array(self.translation_mm, np.float64),
            rms_px=self.rms_px,
        )


class GeometryFile(GeometryEntry):
    """A rig's geometry as stored; see `runtime.geometry.box_mapping.RigGeometry`."""

    schema_version: Literal[1]
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")
    views: int = Field(ge=0)
    rms_px: NotNegative
    held_out_px: NotNegative | None
    cameras: dict[Modality, CameraEntry] = Field(min_length=2)


def camera_entry(camera: CameraModel) -> CameraEntry:
    """Return the file entry for ``camera``. `CameraEntry.camera` is the inverse."""
    k = camera.matrix
    return CameraEntry.model_validate(
        {
            "identity": camera.identity,
            "width": camera.width,
            "height": camera.height,
            "focal": (k[0, 0], k[1, 1]),
            "centre": (k[0, 2], k[1, 2]),
            "distortion": camera.distortion.tolist(),
            "rotation": camera.rotation.tolist(),
            "translation_mm": camera.translation.tolist(),
            "rms_px": camera.rms_px,
        }
    )


def save_geometry(geometry: RigGeometry, path: Path) -> None:
    """Write ``geometry`` atomically.

    Raises:
        CalibrationInvalid: it has values that are impossible for a rig.
        OSError: the file cannot be written.
    """
    try:
        content = GeometryFile(
            schema_version=SCHEMA_VERSION,
            date=geometry.date,
            views=geometry.views,
            rms_px=geometry.rms_px,
            held_out_px=geometry.held_out_px,
            cameras={modality: camera_entry(camera) for modality, camera in geometry.cameras.items()},
        )
    except ValidationError as error:
        raise CalibrationInvalid(f"{path} was not written: {validation_message(error)}") from error
    write_atomically(path, (json.dumps(content.model_dump(mode="json"), indent=1) + "\n").encode())


def load_geometry(path: Path) -> RigGeometry:
    """Read a rig's geometry.

    Raises:
        CalibrationInvalid: the file does not exist, has a different schema, or has values that are impossible for a
            rig. The message names the field.
    """
    again = "Create it with: adsn-calib rig"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CalibrationInvalid(f"{path}: {error.strerror or error}. {again}") from error
    if len(content) > MAX_BYTES:
        raise CalibrationInvalid(f"{path}: larger than {MAX_BYTES >> 20} MiB, so not a rig's geometry. {again}")
    try:
        parsed = GeometryFile.model_validate_json(without_mark(content))
    except ValidationError as error:
        raise CalibrationInvalid(f"{path}: {validation_message(error)}. {again}") from error
    return RigGeometry(
        cameras={modality: entry.camera() for modality, entry in parsed.cameras.items()},
        rms_px=parsed.rms_px,
        held_out_px=parsed.held_out_px,
        views=parsed.views,
        date=parsed.date,
    )


def validation_message(error: ValidationError) -> str:
    """Return all wrong fields with their errors, on one line."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())


def open_box_mapper(path: Path | None, infos: Mapping[Modality, SourceInfo]) -> BoxMapper:
    """Return the box mapper for the open cameras.

    It uses the geometry in ``path``. Without a path it is a `ScaleMapper`.

    Raises:
        CalibrationInvalid: the file is damaged, or does not match the cameras or image sizes in ``infos``.
    """
    if path is None:
        return ScaleMapper()
    geometry = load_geometry(path)
    geometry.require_cameras(infos, str(path))
    return CalibratedMapper(geometry)
