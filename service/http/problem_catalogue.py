"""Every problem that HTTP callers can receive: its code, its statuses, and how to fix it.

docs/errors.md is generated from it (``python -m service.http``). A test checks the table against the code that raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runtime.core import errors
from runtime.core.errors import AdsnError


@dataclass(frozen=True, slots=True)
class ProblemEntry:
    """Meaning of a code. ``statuses``: the HTTP statuses it comes with. ``remedy``: what the caller does next."""

    code: str
    statuses: tuple[int, ...]
    title: str
    remedy: str
    retryable: bool = False


_ALL = (
    ProblemEntry(
        "malformed_request", (400, 422), "The request cannot be read",
        "Send what /docs describes; `detail` names the first thing that is wrong.",
    ),
    ProblemEntry(
        "unauthorized", (401,), "A key is needed",
        "Send the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    ),
    ProblemEntry(
        "forbidden", (403,), "The key may not do this",
        "Use a key with the role that `detail` names.",
    ),
    ProblemEntry(
        "cross_site", (403,), "A page of another site may not ask",
        "Call from a program, or from this service's own pages: browsers say which site a request is for.",
    ),
    ProblemEntry(
        "not_found", (404,), "No such resource",
        "See /docs for the paths that there are.",
    ),
    ProblemEntry(
        "method_not_allowed", (405,), "The method is not allowed here",
        "Use a method that the `Allow` header names.",
    ),
    ProblemEntry(
        "request_timeout", (408,), "The request did not arrive in time",
        "Send it again, faster; the connection is closed.", True,
    ),
    ProblemEntry(
        "replayed_nonce", (409,), "The nonce was used before",
        "Make a new nonce for each check. Where nobody on your side sent it twice, somebody replays your "
        "requests.",
    ),
    ProblemEntry(
        "idempotency_conflict", (409,), "The Idempotency-Key belongs to another request",
        "Make a new key for each new request; use one again only to repeat the very same request.",
    ),
    ProblemEntry(
        "body_too_large", (413,), "The request is too large",
        "Send smaller pictures; `limits.body_bytes` and `limits.part_bytes` say how large they may be.",
    ),
    ProblemEntry(
        "image_too_large", (413,), "The image is too large",
        "Send a picture with fewer pixels; `limits.pixels` says how many, `limits.pair_bytes` how much memory two may "
        "take.",
    ),
    ProblemEntry(
        "unsupported_media", (415,), "The request's media type is not accepted",
        "Send `multipart/form-data` with pictures, or `application/json` to use the attached cameras.",
    ),
    ProblemEntry(
        "not_an_image", (415,), "Not an image",
        "Send JPEG, PNG, WebP or BMP.",
    ),
    ProblemEntry(
        "missing_part", (422,), "A part is missing",
        "Send a picture for each modality of the model; `/info` lists them.",
    ),
    ProblemEntry(
        "unknown_part", (422,), "A part is not known",
        "Send only the parts that the model takes, each once.",
    ),
    ProblemEntry(
        "truncated_image", (422,), "The image is not whole",
        "Send the file again; it was cut off or damaged on the way.",
    ),
    ProblemEntry(
        "wrong_channels", (422,), "The image has the wrong channels",
        "8-bit colour as `rgb`, 8-bit grey as `ir`, 16-bit grey PNG in millimetres as `depth`. Were parts "
        "swapped?",
    ),
    ProblemEntry(
        "wrong_shape", (422,), "The image has a shape that no camera gives",
        "Send the cameras' own pictures: edges of 16 pixels or more, the longer at most four times the shorter, and "
        "both pictures of similar shape.",
    ),
    ProblemEntry(
        "invalid_face_box", (422,), "The face box is invalid",
        "Give the box in pixels of its own image, or leave it out.",
    ),
    ProblemEntry(
        "invalid_input", (422,), "The input cannot be used",
        "See `detail`.",
    ),
    ProblemEntry(
        "invalid_batch", (400, 422), "The tensors are not the model's",
        "Send the names, types and shapes that the model's metadata lists.",
    ),
    ProblemEntry(
        "modality_missing", (422,), "A modality is missing",
        "Send a picture for each modality of the model; `/info` lists them.",
    ),
    ProblemEntry(
        "no_face", (422,), "No face was found",
        "Have a frontal, upright face of at least 64 pixels in the picture, or name its box. Never let this "
        "open anything.",
    ),
    ProblemEntry(
        "wrong_host", (421,), "The service is not called so",
        "Use localhost, name the host in `auth.hosts`, or configure keys.",
    ),
    ProblemEntry(
        "request_header_too_large", (431,), "The request's headers are too large",
        "Send fewer or shorter headers.",
    ),
    ProblemEntry(
        "rate_limited", (429,), "Too many requests",
        "Wait as long as `Retry-After` says.", True,
    ),
    ProblemEntry(
        "internal_error", (500,), "Something went wrong in the service",
        "Look for the request id in the service's log, and report it.",
    ),
    ProblemEntry(
        "error", (500,), "Something went wrong in the service",
        "Look for the request id in the service's log, and report it.",
    ),
    ProblemEntry(
        "not_ready", (503,), "The service is not ready",
        "Wait; `/readyz` says what it waits for.", True,
    ),
    ProblemEntry(
        "overloaded", (503,), "The service is busy",
        "Wait as long as `Retry-After` says.", True,
    ),
    ProblemEntry(
        "no_rig", (503,), "No cameras are attached",
        "Configure the section `[rig]`, or upload a pair.",
    ),
    ProblemEntry(
        "capture_error", (503,), "The cameras give no picture",
        "Try again; where it goes on, `/readyz` says how the cameras are.", True,
    ),
    ProblemEntry(
        "calibration_invalid", (503,), "The rig's calibration is not of these cameras",
        "Calibrate again (`adsn-calib rig`), or correct `rig.geometry`.",
    ),
    ProblemEntry(
        "audit_unavailable", (503,), "The audit log cannot be written",
        "Free or repair the service's disk; while `audit.policy` is required, no decision is given without its line.",
        True,
    ),
    ProblemEntry(
        "store_unavailable", (503,), "The store that the replicas share is not available",
        "Wait as long as `Retry-After` says, and send the request again with a new nonce. A request without a nonce, "
        "an Idempotency-Key or a session is answered meanwhile.",
        True,
    ),
    ProblemEntry(
        "engine_error", (503,), "The engine gave no score",
        "Look into the service's log.",
    ),
    ProblemEntry(
        "engine_unavailable", (503,), "The engine cannot be used",
        "Look into the service's log; `adsn-doctor` says what is missing.",
    ),
    ProblemEntry(
        "golden_mismatch", (503,), "The engine does not reproduce its recorded scores",
        "Look into the service's log; another precision or engine may work.",
    ),
    ProblemEntry(
        "inference_failed", (503,), "The engine gave no score",
        "Try again; where it goes on, look into the service's log.", True,
    ),
    ProblemEntry(
        "capture_timeout", (504,), "No pair came in time",
        "See `cameras` and `advice` in the problem, and try again.", True,
    ),
)  # fmt: skip
PROBLEMS: Mapping[str, ProblemEntry] = {entry.code: entry for entry in _ALL}


def error_classes(root: type[AdsnError] = AdsnError) -> Iterator[type[AdsnError]]:
    """Yield every error class of `runtime.core.errors`, parents first."""
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from error_classes(kind)


def errors_page() -> str:
    """Return the text of docs/errors.md."""
    lines = [
        "# Errors",
        "",
        "Made from `service/http/problem_catalogue.py` and `runtime/core/errors.py`; a test holds it against them.",
        "",
        "Every refusal over HTTP is a problem document (RFC 9457, `application/problem+json`) with a stable `code`,",
        "`retryable` (whether the very same request may succeed later), `request_id` (also in the `X-Request-ID`",
        "header and in the service's log) and `help` (a link into the service's own /docs). None carries a score,",
        "and none opens anything.",
        "",
        "## Over HTTP",
        "",
    ]
    for entry in PROBLEMS.values():
        statuses = " or ".join(str(status) for status in entry.statuses)
        again = "yes" if entry.retryable else "no"
        lines += [
            f'### <a id="{entry.code}"></a>`{entry.code}`',
            "",
            f"{statuses} · {entry.title}. Retryable: {again}.",
            "",
            entry.remedy,
            "",
        ]
    lines += ["## In logs and on the command line", "", "| code | what it says | retryable |", "| --- | --- | --- |"]
    for kind in error_classes():
        if kind.code not in PROBLEMS:
            says, again = (kind.__doc__ or "").splitlines()[0], "yes" if kind.retryable else "no"
            lines.append(f"| `{kind.code}` | {says} | {again} |")
    return "\n".join(lines) + "\n"
