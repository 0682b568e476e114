"""All problems that HTTP callers can receive: code, HTTP statuses, and how to fix them.

docs/errors.md is generated from this table (``python -m service.http``). A test compares the table with the code that
raises the errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runtime.core import errors
from runtime.core.errors import AdsnError


@dataclass(frozen=True, slots=True)
class ProblemEntry:
    """Meaning of a code. ``statuses``: HTTP statuses of responses with this code. ``remedy``: what the caller should
    do."""

    code: str
    statuses: tuple[int, ...]
    title: str
    remedy: str
    retryable: bool = False


_ALL = (
    ProblemEntry(
        "malformed_request", (400, 422), "The request cannot be read",
        "Send a request as /docs describes it; `detail` names the first error.",
    ),
    ProblemEntry(
        "unauthorized", (401,), "An API key is required",
        "Send the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    ),
    ProblemEntry(
        "forbidden", (403,), "The key lacks the required role",
        "Use a key with the role that `detail` names.",
    ),
    ProblemEntry(
        "cross_site", (403,), "Cross-site request refused",
        "Call the service from a program or from its own pages. Requests from other sites' pages are refused.",
    ),
    ProblemEntry(
        "not_found", (404,), "No such resource",
        "See /docs for the available paths.",
    ),
    ProblemEntry(
        "method_not_allowed", (405,), "The method is not allowed",
        "Use a method listed in the `Allow` header.",
    ),
    ProblemEntry(
        "request_timeout", (408,), "The request did not arrive in time",
        "Send it again on a new connection, within `limits.header_s` and `limits.body_s`.", True,
    ),
    ProblemEntry(
        "replayed_nonce", (409,), "The nonce was used before",
        "Make a new nonce for each request. If you did not send this one twice, somebody is replaying your requests.",
    ),
    ProblemEntry(
        "idempotency_conflict", (409,), "The Idempotency-Key belongs to another request",
        "Make a new key for each new request. Reuse a key only to repeat exactly the same request.",
    ),
    ProblemEntry(
        "body_too_large", (413,), "The request is too large",
        "Send smaller images; the limits are `limits.body_bytes` and `limits.part_bytes`.",
    ),
    ProblemEntry(
        "image_too_large", (413,), "The image is too large",
        "Send an image with fewer pixels. The limits are `limits.pixels` for each image and `limits.pair_bytes` for "
        "the memory of a decoded pair.",
    ),
    ProblemEntry(
        "unsupported_media", (415,), "Unsupported media type",
        "Send `multipart/form-data` with images, or `application/json` to use the attached cameras.",
    ),
    ProblemEntry(
        "not_an_image", (415,), "Not an image",
        "Send JPEG, PNG, WebP or BMP.",
    ),
    ProblemEntry(
        "missing_part", (422,), "A part is missing",
        "Send an image for each modality of the model; `/info` lists them.",
    ),
    ProblemEntry(
        "unknown_part", (422,), "Unknown part",
        "Send only the parts that the model takes, each once.",
    ),
    ProblemEntry(
        "truncated_image", (422,), "The image is incomplete",
        "Send the file again; it was truncated or damaged in transit.",
    ),
    ProblemEntry(
        "wrong_channels", (422,), "The image has the wrong channels",
        "Send 8-bit colour as `rgb`, 8-bit grey as `ir`, and 16-bit grey PNG in millimetres as `depth`. Check that the "
        "parts are not swapped.",
    ),
    ProblemEntry(
        "wrong_shape", (422,), "The image has an unusable shape",
        "Send the cameras' original images: both edges at least 16 pixels, the longer at most four times the shorter, "
        "and both images of similar shape.",
    ),
    ProblemEntry(
        "invalid_face_box", (422,), "The face box is invalid",
        "Send the box in pixels of its own image, or omit it.",
    ),
    ProblemEntry(
        "invalid_input", (422,), "The input cannot be used",
        "See `detail`.",
    ),
    ProblemEntry(
        "invalid_batch", (400, 422), "The tensors do not match the model",
        "Send the names, types and shapes that the model's metadata lists.",
    ),
    ProblemEntry(
        "modality_missing", (422,), "A modality is missing",
        "Send an image for each modality of the model; `/info` lists them.",
    ),
    ProblemEntry(
        "no_face", (422,), "No face was found",
        "Send images with a frontal, upright face at least 64 pixels wide, or send its box. Treat this as `uncertain`: "
        "it must never open anything.",
    ),
    ProblemEntry(
        "wrong_host", (421,), "Unknown Host header",
        "Use localhost, add the host name to `auth.hosts`, or configure keys.",
    ),
    ProblemEntry(
        "request_header_too_large", (431,), "The request's headers are too large",
        "Send fewer or shorter headers.",
    ),
    ProblemEntry(
        "rate_limited", (429,), "Too many requests",
        "Wait for the time in `Retry-After`.", True,
    ),
    ProblemEntry(
        "internal_error", (500,), "Internal error",
        "Find the request id in the service's log, and report the error.",
    ),
    ProblemEntry(
        "error", (500,), "Internal error",
        "Find the request id in the service's log, and report the error.",
    ),
    ProblemEntry(
        "not_ready", (503,), "The service is not ready",
        "Wait; `/readyz` gives the reason.", True,
    ),
    ProblemEntry(
        "overloaded", (503,), "The service is busy",
        "Wait for the time in `Retry-After`.", True,
    ),
    ProblemEntry(
        "no_rig", (503,), "No cameras are attached",
        "Configure the section `[rig]`, or upload a pair.",
    ),
    ProblemEntry(
        "capture_error", (503,), "The cameras deliver no image",
        "Try again. If it continues, `/readyz` shows the status of the cameras.", True,
    ),
    ProblemEntry(
        "calibration_invalid", (503,), "The calibration does not match the cameras",
        "Calibrate again (`adsn-calib rig`), or correct `rig.geometry`.",
    ),
    ProblemEntry(
        "audit_unavailable", (503,), "The audit log cannot be written",
        "Free space on the service's disk, or repair it. While `audit.policy` is `required`, the service returns no "
        "decision that it cannot log.",
        True,
    ),
    ProblemEntry(
        "store_unavailable", (503,), "The replicas' shared store is not available",
        "Wait for the time in `Retry-After`, and send the request again. If it has a nonce, use a new nonce and a new "
        "Idempotency-Key, because both may be used up. Meanwhile the service still answers requests without a nonce, "
        "an Idempotency-Key or a session.",
        True,
    ),
    ProblemEntry(
        "engine_error", (503,), "The engine returned no score",
        "See the service's log.",
    ),
    ProblemEntry(
        "engine_unavailable", (503,), "The engine cannot be used",
        "See the service's log; `adsn-doctor` reports what is missing.",
    ),
    ProblemEntry(
        "golden_mismatch", (503,), "The engine does not reproduce its recorded scores",
        "See the service's log; another precision or engine may work.",
    ),
    ProblemEntry(
        "inference_failed", (503,), "The engine returned no score",
        "Try again. If it continues, see the service's log.", True,
    ),
    ProblemEntry(
        "capture_timeout", (504,), "The cameras delivered no pair in time",
        "See `cameras` and `advice` in the problem document, and try again.", True,
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
        "This page lists the error codes of the HTTP API and of the command-line programs, and says what to do. It is",
        "generated from `service/http/problem_catalogue.py` and `runtime/core/errors.py`.",
        "",
        "Every HTTP error is a problem document (RFC 9457, `application/problem+json`) with these members:",
        "",
        "- `code`, which is stable;",
        "- `retryable`: whether exactly the same request may succeed later;",
        "- `request_id`, which is also in the `X-Request-ID` header and in the service's log;",
        "- `help`: a link into the service's own `/docs`.",
        "",
        "No error carries a score, and no error opens anything.",
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
    lines += ["## In logs and on the command line", "", "| code | meaning | retryable |", "| --- | --- | --- |"]
    for kind in error_classes():
        if kind.code not in PROBLEMS:
            says, again = (kind.__doc__ or "").splitlines()[0], "yes" if kind.retryable else "no"
            lines.append(f"| `{kind.code}` | {says} | {again} |")
    return "\n".join(lines) + "\n"
