"""The project's exception hierarchy.

::

    AdsnError
    ├── InputError            the caller's data cannot be used
    │   ├── NotAnImage            unsupported or unrecognised file format
    │   ├── TruncatedImage        the image data is incomplete or damaged
    │   ├── WrongChannels         e.g. an image with transparency sent as RGB
    │   ├── ImageTooLarge         the header declares more pixels than allowed
    │   ├── WrongShape            size or aspect ratio that no camera produces
    │   ├── InvalidFaceBox        malformed, or outside the image
    │   ├── NoFace                no face was found and no box was given
    │   ├── ModalityMissing       the pair lacks an image that the model needs
    │   └── InvalidBatch          wrong names, dtypes or shapes for the engine
    ├── BundleError           a model folder that cannot be loaded or trusted
    │   ├── BundleMissing
    │   ├── ManifestInvalid
    │   ├── DigestMismatch
    │   ├── UnsafePath
    │   ├── SignatureMissing      a public key is configured, but the bundle is unsigned
    │   ├── SignatureInvalid
    │   └── UnsafeModel           a model file that must not reach a runtime
    │       ├── NotAModel
    │       ├── ExternalData
    │       ├── UnknownOpset
    │       ├── UnknownOperator
    │       └── WeightsNotFinite
    ├── EngineError           the network could not be run
    │   ├── EngineUnavailable     a package, device or artifact is missing
    │   ├── GoldenMismatch        this machine does not reproduce the expected scores
    │   └── InferenceFailed       the run failed or its result is not a score
    ├── CaptureError          a camera, recording or rig delivers no frames
    │   ├── CameraMissing         no such device, file or serial number
    │   ├── CameraBusy            in use by another process, or no bus bandwidth left
    │   ├── CameraDenied          no permission to open it
    │   ├── CameraUnsupported     unsupported format, size or control, or a missing package
    │   ├── CameraLost            disconnected while open
    │   │   └── StreamEnded           end of a file or recording
    │   ├── CameraData            frames do not match the declared format
    │   ├── RecordingInvalid      not a recording, or too damaged to read
    │   └── CalibrationInvalid    the rig's geometry file is damaged, or belongs to other cameras
    ├── NotReady              the engine is still starting, or could not start
    ├── Overloaded            the queue is full
    ├── StoreUnavailable      the replicas' shared store cannot be read or written
    ├── TokenInvalid          an attestation that must be rejected: altered, wrong key, expired, already used
    ├── AuditUnavailable      the required audit log cannot be written
    ├── AuditBroken           an audit log has been altered
    └── ConfigError           the configuration is wrong

Every error carries a stable ``code`` for programs, a message that says what happened and what to do next, and
``retryable``: whether the same call may succeed later. One table in the service maps errors to HTTP responses.
"""

from __future__ import annotations

from typing import ClassVar


class AdsnError(Exception):
    """Base class of all errors that this project raises deliberately."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(AdsnError):
    """The caller's data cannot be used."""

    code = "invalid_input"


class NotAnImage(InputError):
    """The bytes are not in an accepted image format."""

    code = "not_an_image"


class TruncatedImage(InputError):
    """The image data is incomplete or damaged."""

    code = "truncated_image"


class WrongChannels(InputError):
    """The image has channels or a bit depth that this modality does not accept."""

    code = "wrong_channels"


class ImageTooLarge(InputError):
    """The header declares more pixels than the limit; nothing was decoded."""

    code = "image_too_large"


class WrongShape(InputError):
    """No camera produces an image of this shape, or the two images cannot come from one rig."""

    code = "wrong_shape"


class InvalidFaceBox(InputError):
    """The face box is malformed or does not lie inside its image."""

    code = "invalid_face_box"


class NoFace(InputError):
    """The detector found no face and the caller gave no box."""

    code = "no_face"


class ModalityMissing(InputError):
    """The pair lacks an image of a modality that the model needs."""

    code = "modality_missing"


class InvalidBatch(InputError):
    """Names, dtypes or shapes do not match the engine's inputs."""

    code = "invalid_batch"


class BundleError(AdsnError):
    """A model folder that cannot be loaded or trusted."""

    code = "bundle_invalid"


class BundleMissing(BundleError):
    """The folder, or a file that its manifest names, does not exist."""

    code = "bundle_missing"


class ManifestInvalid(BundleError):
    """manifest.json cannot be read, has an unknown schema, or contradicts itself."""

    code = "manifest_invalid"


class DigestMismatch(BundleError):
    """A file's size or SHA-256 differs from the manifest."""

    code = "digest_mismatch"


class UnsafePath(BundleError):
    """A path in the manifest leaves the folder or follows a link."""

    code = "unsafe_path"


class SignatureMissing(BundleError):
    """A public key is configured, but the bundle has no signature."""

    code = "signature_missing"


class SignatureInvalid(BundleError):
    """The signature is damaged, or was made with another key or for another bundle."""

    code = "signature_invalid"


class UnsafeModel(BundleError):
    """A model file holds something that no model of this project contains; it is not passed to a runtime."""

    code = "model_unsafe"


class NotAModel(UnsafeModel):
    """Not an ONNX model, truncated, too large, or with parts that this project never writes."""

    code = "not_a_model"


class ExternalData(UnsafeModel):
    """Weights are stored outside the model file."""

    code = "external_data"


class UnknownOpset(UnsafeModel):
    """The model uses an operator set that this version does not support."""

    code = "unknown_opset"


class UnknownOperator(UnsafeModel):
    """The model uses an operator that no model of this project contains."""

    code = "unknown_operator"


class WeightsNotFinite(UnsafeModel):
    """A weight is NaN or infinite."""

    code = "weights_not_finite"


class EngineError(AdsnError):
    """The network could not be run."""

    code = "engine_error"


class EngineUnavailable(EngineError):
    """A package, a device or an artifact that the engine needs is missing."""

    code = "engine_unavailable"


class GoldenMismatch(EngineError):
    """This machine does not reproduce the scores recorded with the model."""

    code = "golden_mismatch"


class InferenceFailed(EngineError):
    """A run failed, or its result is not a score (NaN, outside 0 to 1)."""

    code = "inference_failed"
    retryable = True


class CaptureError(AdsnError):
    """A camera, recording or rig delivers no frames."""

    code = "capture_error"
    retryable = True


class CameraMissing(CaptureError):
    """No such device, file or serial number."""

    code = "camera_missing"


class CameraBusy(CaptureError):
    """Another process is using the camera, or its bus has no bandwidth left."""

    code = "camera_busy"


class CameraDenied(CaptureError):
    """This user may not open the camera."""

    code = "camera_denied"


class CameraUnsupported(CaptureError):
    """The camera does not support the format, size or control, or the package that reads it is missing."""

    code = "camera_unsupported"
    retryable = False


class CameraLost(CaptureError):
    """The camera disconnected while it was open."""

    code = "camera_lost"


class StreamEnded(CameraLost):
    """A file or recording has been read to its end; opening it again starts from the beginning."""

    code = "stream_ended"
    retryable = False


class CameraData(CaptureError):
    """The camera's frames do not match the declared format: wrong size, truncated, or not decodable."""

    code = "camera_data"


class RecordingInvalid(CaptureError):
    """Not a recording, or too damaged to read."""

    code = "recording_invalid"
    retryable = False


class CalibrationInvalid(CaptureError):
    """The rig's geometry file is damaged, has another version, or belongs to other cameras."""

    code = "calibration_invalid"
    retryable = False


class NotReady(AdsnError):
    """The engine is still starting."""

    code = "not_ready"
    retryable = True


class Overloaded(AdsnError):
    """The queue is full."""

    code = "overloaded"
    retryable = True


class StoreUnavailable(AdsnError):
    """The replicas' shared store is not available, so requests that need it are refused.

    ``retry_after_s``: when it may succeed.
    """

    code = "store_unavailable"
    retryable = True

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TokenInvalid(AdsnError):
    """The attestation was altered, signed by another key, issued for another nonce, has expired or was used before."""

    code = "token_invalid"


class AuditUnavailable(AdsnError):
    """The audit log is required but cannot be written, so no decision is returned."""

    code = "audit_unavailable"
    retryable = True


class AuditBroken(AdsnError):
    """An audit log has been altered: lines were changed, removed or inserted."""

    code = "audit_broken"


class ConfigError(AdsnError):
    """The configuration is wrong; programs exit with 78 (EX_CONFIG)."""

    code = "config_error"
