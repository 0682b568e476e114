"""The service's answers as values. A test compares them with the service's own contract.

Unknown members are ignored, because contract version 1 may gain new ones.
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
    """The threshold that was applied: its name, its target, and the data that it was set on."""

    name: str
    target: str
    measured_on: str


class ModalityScore(Value):
    """Result for one image. ``score``: of this modality alone, None when hidden. ``usable``: its gates passed and, of
    RGB, the face is bright enough to be seen."""

    score: Score | None
    usable: bool


class IrScore(ModalityScore):
    """Result for the IR image. ``illuminated``: whether the illuminator lit the face."""

    illuminated: bool


class Modalities(Value):
    """Results by modality, None for a modality that the model does not take."""

    rgb: ModalityScore | None = None
    ir: IrScore | None = None
    depth: ModalityScore | None = None


class Face(Value):
    """The face that was scored. ``bbox``: x, y, width and height in pixels of the RGB image (for an IR-depth model, of
    the IR image). ``confidence``: of the detector, None if the caller gave the box. ``count``: detected faces."""

    bbox: tuple[float, float, float, float]
    confidence: float | None
    count: Annotated[int, Field(ge=1)]


class QualityCheck(Value):
    """One quality gate. ``value``: None if it could not be measured. ``range``: accepted limits; None: no limit."""

    name: str
    value: float | None
    range: tuple[float | None, float | None]
    status: Literal["pass", "fail", "unknown"]


class PairInfo(Value):
    """Source of the two images, their skew, and the age of the older one; None if unknown."""

    skew_ms: float | None
    age_ms: float | None
    clock: str
    epoch: int
    source: Literal["upload", "camera"]


class Model(Value):
    """The model and engine used. ``sha256``: of the model file. ``degraded``: less than the configured setup runs."""

    name: str
    version: str
    sha256: str
    precision: Literal["fp32", "int8"]
    backend: str
    degraded: bool


class Answer(Value):
    """The answer to one pair. Only ``decision == "live"`` may open anything; `is_live` says just that.

    ``score``, ``threshold``: None when hidden. ``reasons``: stable codes, empty when live. ``quality``: the gates.
    ``timing_ms``: stage → milliseconds. ``attestation``: the signed summary, if the service has a key. ``explain``:
    modality → PNG in base64, if requested. ``replayed``: this answer was already given to the same idempotency key;
    ``captured_at`` is the capture time of the pair.
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
        # Every plain object is truthy: `if client.assess(...)` would open the door to attacks.
        raise TypeError("an Answer is neither true nor false. Ask for answer.is_live or answer.decision.")


class Problem(Value):
    """Why the service refused (RFC 9457). ``code``: stable, listed in docs/errors.md. ``retryable``: whether the same
    request may succeed later. ``help``: address of the explanation in the service's own pages."""

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
    """One problem of the service. ``critical``: no pair can be assessed."""

    name: str
    subject: str
    severity: str
    since: str
    detail: str


class Readiness(Value):
    """Whether pairs can be assessed, and the current problems."""

    ready: bool
    conditions: tuple[Condition, ...]


class InfoApcer(Value):
    """Measured APCER of one attack species: ``errors`` of ``trials`` presentations of ``data`` were accepted."""

    species: str
    errors: int
    trials: int
    data: str


class InfoModel(Value):
    """The model, its modalities, and the species whose measured APCER is above the service's limit, worst first."""

    name: str
    version: str
    sha256: str
    modalities: tuple[Modality, ...]
    apcer_over_limit: tuple[InfoApcer, ...]


class Info(Value):
    """The running service, from ``/info``. ``summary``: what the model is suitable for. ``limits``: accepted input."""

    contract_version: str
    version: str
    model: InfoModel
    summary: str
    capabilities: tuple[str, ...]
    limits: dict[str, float]
