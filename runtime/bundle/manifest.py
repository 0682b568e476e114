"""Model bundles: read the manifest and verify each file before use. Nothing is unpickled.

A bundle is a folder with ``manifest.json`` and the files that it names by relative path, size and SHA-256. Each file is
read once and the digest is checked on the bytes that are returned, so a file cannot be swapped between check and use.
Engines receive models as bytes, so external-data paths are never followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from runtime.bundle.migration import SCHEMA_VERSION, migrate
from runtime.bundle.signature import MAX_SIGNATURE_BYTES, SIGNATURE, require_signature
from runtime.core.errors import BundleMissing, DigestMismatch, ManifestInvalid, UnsafePath
from runtime.core.operating_point import OperatingPoint
from runtime.imaging.crop import CropRule

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20
"""Maximum size of a file, far above that of any model of this network. A larger file is a mistake or an attempt to
exhaust memory."""

Int8Artifact = Literal["int8-cpu", "int8-trt", "int8-trt11"]
FileRole = Literal[
    "checkpoint", "model-fp32", "model-int8-cpu", "model-int8-trt", "model-int8-trt11", "ranges", "golden"
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ManifestEntry(BaseModel):
    """Base of all manifest entries: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(ManifestEntry):
    """One file of a bundle.

    ``shipped``: False for large files that are built locally and may be absent. ``float_inputs``: whether the model's
    image inputs are float32 holding the values 0 to 255, for engines whose parser does not accept uint8.
    """

    role: FileRole
    path: str
    size: int = Field(ge=0, le=MAX_FILE_BYTES)
    sha256: Sha256
    shipped: bool = True
    float_inputs: bool = False


class TensorEntry(ManifestEntry):
    """A graph input or output; ``shape`` excludes the batch axis."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]


class CropEntry(ManifestEntry):
    """See `runtime.imaging.crop.CropRule`."""

    size: int = Field(ge=32, le=512)
    margin: float = Field(ge=0, le=1)


class RateEntry(ManifestEntry):
    """Error rate: number of errors and presentations, with the two-sided 95 % Clopper-Pearson interval."""

    errors: int
    trials: int
    interval: tuple[float, float]


class OperatingPointEntry(ManifestEntry):
    """A threshold and the measurement behind it; see `runtime.core.operating_point.OperatingPoint`."""

    name: str
    threshold: float = Field(strict=True)
    band_low: float = Field(strict=True)
    target: str
    measured_on: str
    apcer: dict[str, RateEntry]
    bpcer: RateEntry

    @model_validator(mode="after")
    def _possible(self) -> OperatingPointEntry:
        self.point()
        return self

    def point(self) -> OperatingPoint:
        return OperatingPoint(self.name, self.threshold, self.band_low, self.target, self.measured_on)


class Calibration(ManifestEntry):
    """Source of the activation ranges."""

    method: str
    samples: int
    data: str
    data_sha256: str
    species: dict[str, int] = {}
    seed: int | None = None
    kept_in_float: list[str] = []


class Parity(ManifestEntry):
    """Differences between an INT8 artifact and FP32 on held-out pairs.

    ``execution``: ``served``: measured with the kernels used in production. ``literal``: measured with every Q/DQ node
    computed separately, as the reference for other engines.
    """

    artifact: Int8Artifact
    execution: Literal["served", "literal"]
    data: str
    data_sha256: Sha256
    pairs: int
    max_score_difference: float
    mean_score_difference: float
    decision_flips: int
    fp32: dict[str, RateEntry]
    int8: dict[str, RateEntry]
    int8_parts: dict[str, dict[str, RateEntry]] = {}


class Manifest(ManifestEntry):
    """Everything that a deployment must know about a model."""

    schema_version: Literal[2]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str
    licence: str
    summary: str
    modalities: tuple[str, str]
    inputs: list[TensorEntry]
    outputs: list[TensorEntry]
    crop: CropEntry
    files: list[FileEntry]
    operating_points: list[OperatingPointEntry] = Field(min_length=1)
    calibration: Calibration | None = None
    parity: list[Parity] = []
    parity_limits: dict[str, float] = {}
    training: dict[str, Any] = {}
    tools: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        for key in ("role", "path"):
            values = [getattr(entry, key) for entry in self.files]
            if len(set(values)) != len(values):
                raise ValueError(f"two files have the same {key}")
        if tuple(entry.name for entry in self.inputs) != self.modalities:
            raise ValueError("inputs and modalities differ")
        return self

    def rule(self) -> CropRule:
        return CropRule(self.crop.size, self.crop.margin)

    def operating_point(self, name: str = "default") -> OperatingPoint:
        for entry in self.operating_points:
            if entry.name == name:
                return entry.point()
        known = ", ".join(entry.name for entry in self.operating_points)
        raise ManifestInvalid(f"the bundle {self.name!r} has no operating point {name!r}. It has: {known}.")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle. Files are read and verified on demand."""

    folder: Path
    manifest: Manifest

    def entry(self, role: FileRole) -> FileEntry:
        """Return the manifest's entry for ``role``.

        Raises:
            BundleMissing: the manifest has no such entry.
        """
        for entry in self.manifest.files:
            if entry.role == role:
                return entry
        raise BundleMissing(f"{self.folder}: the manifest names no file with the role {role!r}.")

    def read(self, role: FileRole) -> bytes:
        """Return the verified bytes of the file with ``role``.

        Raises:
            BundleMissing: the manifest does not name the file, or it does not exist.
            UnsafePath: the path leaves the folder or follows a link.
            DigestMismatch: size or SHA-256 differ from the manifest.
        """
        entry = self.entry(role)
        data = _read_inside(self.folder, entry.path, entry.size, shipped=entry.shipped)
        if len(data) != entry.size:
            raise DigestMismatch(
                f"{self.folder / entry.path} has {len(data)} bytes, but the manifest says {entry.size}. "
                "The file was changed or copied incompletely; fetch the bundle again."
            )
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DigestMismatch(
                f"{self.folder / entry.path}: the SHA-256 differs from the manifest's. "
                "The file was changed; fetch the bundle again."
            )
        return data

    def verify(self) -> None:
        """Verify every required file, and every optional file that exists. Raises the same errors as `read`."""
        for entry in self.manifest.files:
            if entry.shipped or (self.folder / entry.path).exists():
                self.read(entry.role)


def open_bundle(folder: Path, public_key: Path | None = None) -> Bundle:
    """Open a bundle and read its manifest. Files are verified when they are read.

    With ``public_key`` (Ed25519, PEM), the manifest must carry a valid signature by that key.

    Raises:
        BundleMissing: there is no such folder, or it has no manifest.
        SignatureMissing, SignatureInvalid: see `runtime.bundle.signature.require_signature`.
        ManifestInvalid: the manifest is not JSON, has an unknown schema, or contradicts itself. The message names the
            entry.
        UnsafePath: the manifest or the signature is not a plain file, or the manifest names a path outside the folder.
    """
    if not folder.is_dir():
        raise BundleMissing(
            f"{folder}: no such model folder. Create one with adsn-export, or set ADSN_BUNDLE to another."
        )
    data = _read_inside(folder, MANIFEST, MAX_MANIFEST_BYTES, shipped=True)
    if public_key is not None:
        signed = (folder / SIGNATURE).exists() or (folder / SIGNATURE).is_symlink()
        signature = _read_inside(folder, SIGNATURE, MAX_SIGNATURE_BYTES, shipped=True) if signed else None
        require_signature(data, signature, public_key, str(folder))
    return Bundle(folder, parse_manifest(data, str(folder / MANIFEST)))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse a manifest. ``where``: name of the manifest in error messages.

    Raises:
        ManifestInvalid, UnsafePath: see `open_bundle`.
    """
    try:
        manifest = Manifest.model_validate_json(json.dumps(migrate(json.loads(data))))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestInvalid(f"{where}: not JSON: {error}. Export the bundle again with adsn-export.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestInvalid(
            f"{where}: {key}: {first['msg']} (errors in total: {error.error_count()}). This version reads schemas up "
            f"to {SCHEMA_VERSION}; export the bundle again with adsn-export."
        ) from error
    for entry in manifest.files:
        _require_plain(entry.path, where)
    return manifest


def _require_plain(path: str, where: str) -> None:
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path != "/".join(parts)
        or any(p in ("..", "/", ".") for p in parts)
        or "\\" in path
        or "\0" in path
    ):
        raise UnsafePath(f"{where}: the path {path!r} is not a plain path inside the folder.")


def _read_inside(folder: Path, path: str, limit: int, *, shipped: bool) -> bytes:
    """Return at most ``limit`` + 1 bytes of ``path`` in ``folder``, without following links inside ``folder``."""
    _require_plain(path, str(folder))
    *parents, name = PurePosixPath(path).parts
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        # Non-blocking, so that a named pipe in place of the file cannot block the process.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError as error:
        made = "" if shipped else " This file is not shipped: build it with adsn-export from the bundle's checkpoint."
        raise BundleMissing(f"{folder / path}: no such file.{made}") from error
    except OSError as error:
        raise UnsafePath(
            f"{folder / path} cannot be opened as a plain file ({error.strerror}). Links are refused."
        ) from error
    finally:
        os.close(directory)
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise UnsafePath(f"{folder / path}: not a regular file.")
        return stream.read(limit + 1)
