"""What the settings that service and kiosk share name, looked at before anything is opened: files, cameras, model.

A mistake found here ends the start with exit code 78; found later, it would be retried for ever.
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
    """Turn this project's errors into `ConfigError`, with the setting's name first."""
    try:
        yield
    except AdsnError as error:
        told = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        raise ConfigError(told) from error


def check_rig(rig: RigSettings) -> None:
    """Make sure of the cameras' addresses and the geometry, where a rig is named.

    Raises:
        ConfigError: says which setting, its value and what to do.
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
                f"rig.geometry: {path} has no {modality} camera, and rig.{modality} names one. Calibrate this rig "
                "with: adsn-calib rig"
            )
        uri = check_uri(getattr(rig, modality))
        asked = uri.size()
        if asked is not None and asked != (camera.width, camera.height):
            raise ConfigError(
                f"rig.geometry: {path} was calibrated with {modality} pictures of {camera.width}x{camera.height}, and "
                f"{uri.text} asks for {asked[0]}x{asked[1]}. Ask for the calibrated size, or calibrate at this one."
            )


def check_model(
    folder: Path, public_key: Path | None, *, engine: str, precision: Precision, rig: RigSettings
) -> Manifest:
    """Make sure of the bundle: whole, signed where that is asked for, with a model that the engine runs and that takes
    the rig's pictures.

    Raises:
        ConfigError: says what is wrong with it.
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
            f"precision: {folder} holds no {precision} model, but {', '.join(there)}. Set another precision, or "
            "make the model with adsn-export."
        )
    if rig.configured:
        given = modalities_of(rig)
        lacking = [name for name in manifest.modalities if name not in given]
        if lacking:
            raise ConfigError(
                f"rig.{lacking[0]}: not set, and the model in {folder} takes {' and '.join(manifest.modalities)}. Name "
                "that camera, or another bundle."
            )
    return manifest


def check_face(face: FaceSettings) -> None:
    """Make sure that a face detector of the operator's own can be used.

    Raises:
        ConfigError: the file cannot be read, is another one than named, or is no such detector.
    """
    if face.model is not None:
        with setting("face.model"):
            open_detector(face)


def check_remote(remote: RemoteEngineSettings) -> None:
    """Make sure of a scoring server's address and certificates; it is not asked.

    Raises:
        ConfigError: says which of them cannot be used.
    """
    wanted = remote.engine()
    if wanted is not None:
        with setting("remote"):
            RemoteConnection(wanted).close()


def check_trust(attestation: AttestationSettings, audit: AuditSettings) -> None:
    """Make sure of the key that signs, and of where the audit log is to lie.

    Raises:
        ConfigError: the key is not an Ed25519 key, or there is no such folder.
    """
    with setting("attestation.key"):
        attestation.attester()
    if audit.path is not None:
        check_place("audit.path", audit.path)
        if not audit.path.parent.is_dir():
            raise ConfigError(f"audit.path: there is no folder {audit.path.parent}. Make it, or name another file.")


def check_place(name: str, path: Path) -> None:
    """Make sure that a file may lie at ``path``. ``name``: the setting.

    Raises:
        ConfigError: something else lies there, or a folder above it is none.
    """
    if path.is_symlink():
        raise ConfigError(f"{name}: {path} is a link, which is not followed. Name the file itself.")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{name}: {path} is a folder or a device. Name a file.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(f"{name}: {above} is no folder, so {path} cannot lie in it. Name another file.")
