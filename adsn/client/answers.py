"""Responses of the service as values. A test compares them with the contract of the service.

Unknown members are ignored, because new ones may be added to version 1 of the contract.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Score = Annotated[float, Field(ge=0, le=1)]
Modality = Literal["rgb", "ir", "depth"]


class Value(BaseModel):
    """Base class of immutable values."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class OperatingPoint(Value):
    """The threshold that was applied: its name, its target, and the data on which it was set."""

    name: str
    target: str
    measured_on: str


class ModalityScore(Value):
    """Result for one image.

    ``score``: score of this modality alone, None if hidden. ``usable``: whether its quality gates passed and, for RGB,
    the face is bright enough.
    """

    score: Score | None
    usable: bool


class IrScore(ModalityScore):
    """Result for the IR image. ``illuminated``: whether the illuminator lit the face."""

    illuminated: bool


class Modalities(Value):
    """Results by modality. None for a modality that the model does not use."""

    rgb: ModalityScore | None = None
    ir: IrScore | None = None
    depth: ModalityScore | None = None


class Face(Value):
    """The scored face.

    ``bbox``: x, y, width and height in pixels of the RGB image (for an IR-depth model, of the IR image).
    ``confidence``: confidence of the detector, None if the caller gave the box. ``count``: number of detected faces.
    """

    bbox: tuple[float, float, float, float]
    confidence: float | None
    count: Annotated[int, Field(ge=1)]


class QualityCheck(Value):
    """Result of one quality gate. ``value``: None if it could not be measured. ``range``: lower and upper limit; None
    means no limit."""

    name: str
    value: float | None
    range: tuple[float | None, float | None]
    status: Literal["pass", "fail", "unknown"]


class PairInfo(Value):
    """Source of the two images, their skew, and the age of the older image. Skew and age are None if unknown."""

    skew_ms: float | None
    age_ms: float | None
    clock: str
    epoch: int
    source: Literal["upload", "camera"]


class Model(Value):
    """Model and engine used. ``sha256``: digest of the model file. ``degraded``: whether a fallback runs instead of the
    configured engine or detector."""

    name: str
    version: str
    sha256: str
    precision: Literal["fp32", "int8"]
    backend: str
    degraded: bool


class Answer(Value):
    """The result for one pair. Only ``decision == "live"`` may open anything, which is what `is_live` checks.

    ``score``, ``threshold``: None if hidden. ``reasons``: stable codes, empty for ``live``. ``quality``: results of the
    quality gates. ``timing_ms``: stage → milliseconds. ``attestation``: signed form of the decision, if the service has
    a key. ``explain``: modality → PNG in base64, if requested. ``replayed``: whether this is a stored answer, given
    before for the same idempotency key. ``captured_at``: capture time of the pair.
    """

    contract_version: Annotated[str, Field(pattern=r"^1\.\d+$")]
    request_id: str
    session_id: str | None
    decision: Literal["live", "spoof", "uncertain"]
    score: Score | None
    threshold: float | None
    operating_point: OperatingPoint
    reasons: tuple[str, ...]
    modalities: Modalities
    face: Face
    quality: tuple[QualityCheck, ...]
    pair: PairInfo
    model: Model
    timing_ms: dict[str, float]
    captured_at: str
    attestation: str | None = None
    explain: dict[str, str] | None = None
    replayed: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the decision is ``live``."""
        return self.decision == "live"

    def __bool__(self) -> bool:
        # A plain object would be truthy, so `if client.assess(...)` would open the door to attacks.
        raise TypeError("an Answer is neither true nor false. Ask for answer.is_live or answer.decision.")


class Problem(Value):
    """Problem document (RFC 9457): why the service refused a request.

    ``code``: stable code, listed in docs/errors.md. ``retryable``: whether the same request may succeed later.
    ``help``: address of the explanation in the service's pages.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    retryable: bool
    help: str
    request_id: str


class Condition(Value):
    """One current problem of the service. ``critical``: whether it prevents the assessment of pairs."""

    name: str
    subject: str
    severity: str
    since: str
    detail: str


class Readiness(Value):
    """Whether pairs can be assessed, with the current problems."""

    ready: bool
    conditions: tuple[Condition, ...]


class InfoApcer(Value):
    """Measured APCER of one attack species: ``errors`` of ``trials`` presentations in the data set ``data`` were
    accepted."""

    species: str
    errors: int
    trials: int
    data: str


class InfoModel(Value):
    """The model, its modalities, and the species whose measured APCER is above the limit of the service, worst
    first."""

    name: str
    version: str
    sha256: str
    modalities: tuple[Modality, ...]
    apcer_over_limit: tuple[InfoApcer, ...]


class Info(Value):
    """Description of the running service, from ``/info``. ``summary``: uses for which the model is suitable.
    ``limits``: limits of accepted input."""

    contract_version: str
    version: str
    model: InfoModel
    summary: str
    capabilities: tuple[str, ...]
    limits: dict[str, float]
