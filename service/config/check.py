"""Check the files, cameras and models in the settings of service and kiosk before anything is opened.

A mistake found here ends the start with exit code 78. If it were found later, the start would be retried forever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.bundle.manifest import FileRole, Manifest, open_bundle
from runtime.capture.check import check_cameras
from runtime.capture.open import check_uri
from runtime.config.rig import RigSettings
from runtime.core.errors import AdsnError, ConfigError
from runtime.core.values import Modality
from runtime.engines.base import Precision
from runtime.engines.remote.connection import RemoteConnection
from runtime.face.open import FaceSettings, open_detector
from runtime.geometry.calibration_file import load_geometry
from runtime.liveness.open import MODEL_ROLES
from runtime.pairing.rig_pairing import modalities_of
from service.config.trust import AttestationSettings, AuditSettings, RemoteEngineSettings

ON_GPU: tuple[FileRole, ...] = ("model-fp32", "model-int8-trt", "model-int8-trt11")


@contextmanager
def setting(name: str) -> Iterator[None]:
    """Convert this project's errors to `ConfigError`, with the name of the setting at the start of the message."""
    try:
        yield
    except AdsnError as error:
        told = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        raise ConfigError(told) from error


def check_rig(rig: RigSettings) -> None:
    """Check the cameras' addresses and the geometry, if a rig is configured.

    Raises:
        ConfigError: one of them is wrong. The message gives the setting, its value and what to do.
    """
    if not rig.configured:
        return
    modalities = modalities_of(rig)
    check_cameras({modality: getattr(rig, modality) for modality in modalities})
    if rig.geometry is not None:
        _check_geometry(rig, rig.geometry, modalities)


def _check_geometry(rig: RigSettings, path: Path, modalities: Sequence[Modality]) -> None:
    with setting("rig.geometry"):
        geometry = load_geometry(path)
    for modality in modalities:
        camera = geometry.cameras.get(modality)
        if camera is None:
            raise ConfigError(
                f"rig.geometry: {path} has no {modality} camera, but rig.{modality} is set. Calibrate this rig with: "
                "adsn-calib rig"
            )
        uri = check_uri(getattr(rig, modality))
        asked = uri.size()
        if asked is not None and asked != (camera.width, camera.height):
            raise ConfigError(
                f"rig.geometry: {path} was calibrated with {modality} images of {camera.width}x{camera.height}, but "
                f"{uri.text} requests {asked[0]}x{asked[1]}. Use the calibrated size, or calibrate at this one."
            )


def check_model(
    folder: Path, public_key: Path | None, *, engine: str, precision: Precision, rig: RigSettings
) -> Manifest:
    """Check the bundle.

    It must be complete, signed if a public key is given, and have a model that fits the engine and the rig.

    Raises:
        ConfigError: the bundle cannot be used. The message says why.
    """
    with setting("bundle"):
        bundle = open_bundle(folder, public_key)
        bundle.verify()
    manifest = bundle.manifest
    roles: tuple[FileRole, ...] = (MODEL_ROLES[precision],) if engine in ("auto", "onnx-cpu") else ()
    if engine == "auto":
        roles += ON_GPU
    there = [entry.role for entry in manifest.files if (folder / entry.path).exists()]
    if roles and not set(roles) & set(there):
        raise ConfigError(
            f"precision: {folder} contains no {precision} model, only {', '.join(there)}. Set another precision, or "
            "make the model with adsn-export."
        )
    if rig.configured:
        given = modalities_of(rig)
        lacking = [name for name in manifest.modalities if name not in given]
        if lacking:
            raise ConfigError(
                f"rig.{lacking[0]}: not set, but the model in {folder} takes {' and '.join(manifest.modalities)}. Set "
                "it to that camera, or use another bundle."
            )
    return manifest


def check_face(face: FaceSettings) -> None:
    """Check that the operator's own face detector, if configured, can be used.

    Raises:
        ConfigError: the file cannot be read, has the wrong digest, or is not a detector of the configured kind.
    """
    if face.model is not None:
        with setting("face.model"):
            open_detector(face)


def check_remote(remote: RemoteEngineSettings) -> None:
    """Check the scoring server's address and certificates, without connecting to it.

    Raises:
        ConfigError: one of them cannot be used. The message says which.
    """
    wanted = remote.engine()
    if wanted is not None:
        with setting("remote"):
            RemoteConnection(wanted).close()


def check_trust(attestation: AttestationSettings, audit: AuditSettings) -> None:
    """Check the signing key and the folder of the audit log.

    Raises:
        ConfigError: the key is not an Ed25519 key, or the folder does not exist.
    """
    with setting("attestation.key"):
        attestation.attester()
    if audit.path is not None:
        check_place("audit.path", audit.path)
        if not audit.path.parent.is_dir():
            raise ConfigError(
                f"audit.path: the folder {audit.path.parent} does not exist. Create it, or set another file."
            )


def check_place(name: str, path: Path) -> None:
    """Check that a file can be written at ``path``. ``name``: name of the setting.

    Raises:
        ConfigError: ``path`` exists and is not a file, or a path above it is not a folder.
    """
    if path.is_symlink():
        raise ConfigError(f"{name}: {path} is a symbolic link, which is not followed. Set the file itself.")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{name}: {path} is a folder or a device. Set a file.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(f"{name}: {above} is not a folder, so it cannot contain {path}. Set another file.")
