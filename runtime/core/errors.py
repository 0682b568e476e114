"""The one exception tree of the project.

::

    AdsnError
    ├── InputError            what a caller handed in
    │   ├── NotAnImage            unsupported or unrecognised file
    │   ├── TruncatedImage        the file ends before its picture does
    │   ├── WrongChannels         e.g. a picture with transparency as RGB
    │   ├── ImageTooLarge         more pixels than allowed, known from the header alone
    │   ├── WrongShape            narrower, or longer for its width, than any camera's picture
    │   ├── InvalidFaceBox        not a box, or not inside the image
    │   ├── NoFace                no face was found and none was given
    │   ├── ModalityMissing       the model needs a picture that the pair has not
    │   └── InvalidBatch          wrong names, types or shapes for the engine
    ├── BundleError           a model folder that cannot be trusted
    │   ├── BundleMissing
    │   ├── ManifestInvalid
    │   ├── DigestMismatch
    │   ├── UnsafePath
    │   ├── SignatureMissing      a key is configured, the bundle is not signed
    │   ├── SignatureInvalid
    │   └── UnsafeModel           a model file that no runtime may see
    │       ├── NotAModel
    │       ├── ExternalData
    │       ├── UnknownOpset
    │       ├── UnknownOperator
    │       └── WeightsNotFinite
    ├── EngineError           the network could not be run
    │   ├── EngineUnavailable     a package, device or artifact is missing
    │   ├── GoldenMismatch        this machine does not reproduce the expected scores
    │   └── InferenceFailed       a run failed or gave something that is no score
    ├── CaptureError          a camera, a recording or a rig gives no pictures
    │   ├── CameraMissing         no such device, file or serial number
    │   ├── CameraBusy            another process has it, or the bus has no bandwidth left
    │   ├── CameraDenied          no permission to open it
    │   ├── CameraUnsupported     it has no such format, size or control, or a package is missing
    │   ├── CameraLost            it was there and went away
    │   │   └── StreamEnded           a recording has been read to its end
    │   ├── CameraData            it sends pictures that cannot be what it says they are
    │   ├── RecordingInvalid      not a recording, or damaged beyond what can be read around
    │   ├── CaptureTimeout        no pair in time
    │   └── CalibrationInvalid    a rig's geometry file is damaged, or of other cameras
    ├── NotReady              still starting, or no engine
    ├── Overloaded            the queue is full
    ├── StoreUnavailable      what replicas share cannot be looked up or written
    ├── TokenInvalid          an attestation that proves nothing: changed, another key's, expired, used before
    ├── AuditUnavailable      a decision cannot be written down where it must be
    ├── AuditBroken           an audit log is not as it was written
    └── ConfigError           the operator's configuration is wrong

Every error carries a stable ``code`` for programs, a message for people that says what happened
and what to do next, and whether the same call may succeed later (``retryable``). What an error
means over HTTP is decided in one table, in the service.
"""

from __future__ import annotations

from typing import ClassVar


class AdsnError(Exception):
    """Base of everything this project raises on purpose."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(AdsnError):
    """The caller's data cannot be used as it is."""

    code = "invalid_input"


class NotAnImage(InputError):
    """The bytes are none of the accepted image formats."""

    code = "not_an_image"


class TruncatedImage(InputError):
    """The file ends before its picture does, or is damaged inside."""

    code = "truncated_image"


class WrongChannels(InputError):
    """The picture has channels or a bit depth that this modality does not take."""

    code = "wrong_channels"


class ImageTooLarge(InputError):
    """The header declares more pixels than the limit; nothing was decoded."""

    code = "image_too_large"


class WrongShape(InputError):
    """The picture is of a shape that no camera gives, or the two pictures cannot be of one rig."""

    code = "wrong_shape"


class InvalidFaceBox(InputError):
    """The face box is malformed or does not lie inside its image."""

    code = "invalid_face_box"


class NoFace(InputError):
    """The detector found no face and the caller named none."""

    code = "no_face"


class ModalityMissing(InputError):
    """The pair lacks a picture of a modality that the model takes."""

    code = "modality_missing"


class InvalidBatch(InputError):
    """Names, types or shapes do not fit what the engine takes."""

    code = "invalid_batch"


class BundleError(AdsnError):
    """A model folder that cannot be loaded or trusted."""

    code = "bundle_invalid"


class BundleMissing(BundleError):
    """The folder or one of the files its manifest names is not there."""

    code = "bundle_missing"


class ManifestInvalid(BundleError):
    """manifest.json is not readable, not of a known schema, or contradicts itself."""

    code = "manifest_invalid"


class DigestMismatch(BundleError):
    """A file's size or SHA-256 is not what the manifest says."""

    code = "digest_mismatch"


class UnsafePath(BundleError):
    """A path in the manifest leaves the folder, or leads through a link."""

    code = "unsafe_path"


class SignatureMissing(BundleError):
    """A public key is configured and the bundle carries no signature."""

    code = "signature_missing"


class SignatureInvalid(BundleError):
    """The signature is damaged, another key's, or another bundle's."""

    code = "signature_invalid"


class UnsafeModel(BundleError):
    """A model file holds what no model of this project has; no runtime gets to see it."""

    code = "model_unsafe"


class NotAModel(UnsafeModel):
    """Not an ONNX model, cut off, too large, or of parts that this project never writes."""

    code = "not_a_model"


class ExternalData(UnsafeModel):
    """Weights that lie outside the model file."""

    code = "external_data"


class UnknownOpset(UnsafeModel):
    """An operator set that this version does not serve."""

    code = "unknown_opset"


class UnknownOperator(UnsafeModel):
    """An operator that no model of this project has."""

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
    """No pictures can be had from a camera, a recording or a rig."""

    code = "capture_error"
    retryable = True


class CameraMissing(CaptureError):
    """No such device, file or serial number."""

    code = "camera_missing"


class CameraBusy(CaptureError):
    """Another process holds the camera, or its bus has no bandwidth left."""

    code = "camera_busy"


class CameraDenied(CaptureError):
    """This user may not open the camera."""

    code = "camera_denied"


class CameraUnsupported(CaptureError):
    """The camera has no such format, size or control, or the package that reads it is missing."""

    code = "camera_unsupported"
    retryable = False


class CameraLost(CaptureError):
    """The camera was open and went away."""

    code = "camera_lost"


class StreamEnded(CameraLost):
    """A file or recording has been read to its end; opening it again would only begin it anew."""

    code = "stream_ended"
    retryable = False


class CameraData(CaptureError):
    """The camera's pictures cannot be what it says they are: wrong sizes, truncated, not decodable."""

    code = "camera_data"


class RecordingInvalid(CaptureError):
    """Not a recording, or damaged beyond what can be read around."""

    code = "recording_invalid"
    retryable = False


class CaptureTimeout(CaptureError):
    """No pair came in time."""

    code = "capture_timeout"


class CalibrationInvalid(CaptureError):
    """A rig's geometry is damaged, of another version, or of other cameras."""

    code = "calibration_invalid"
    retryable = False


class NotReady(AdsnError):
    """The engine is still starting."""

    code = "not_ready"
    retryable = True


class Overloaded(AdsnError):
    """More work is waiting than the queue admits."""

    code = "overloaded"
    retryable = True


class StoreUnavailable(AdsnError):
    """What the replicas share cannot be looked up or written now, so whoever depends on it is refused.

    ``retry_after_s``: when it may succeed.
    """

    code = "store_unavailable"
    retryable = True

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TokenInvalid(AdsnError):
    """An attestation that proves nothing: changed, signed by another key, expired, for another nonce, or used
    before."""

    code = "token_invalid"


class AuditUnavailable(AdsnError):
    """The audit log cannot be written and is required: there is no decision without its line."""

    code = "audit_unavailable"
    retryable = True


class AuditBroken(AdsnError):
    """An audit log is not as it was written: lines were changed, taken out or put in."""

    code = "audit_broken"


class ConfigError(AdsnError):
    """The operator's configuration is wrong; programs exit with 78 (EX_CONFIG)."""

    code = "config_error"
