"""Response bodies: generate those that an attestation needs, and check bodies against the contract."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from service.liveness.contract import LivenessResponse

CONTRACT = TypeAdapter(LivenessResponse)


def checked(body: Any) -> LivenessResponse:
    """Return a response body after checking that it matches the contract, without missing or additional members."""
    return CONTRACT.validate_python(body)


def answer(decision: str = "live", **changes: Any) -> dict[str, Any]:
    """Return the part of a response that an attestation uses."""
    body: dict[str, Any] = {
        "contract_version": "1.0",
        "request_id": "r-1",
        "session_id": "s-1",
        "decision": decision,
        "reasons": [] if decision == "live" else ["fused_spoof"],
        "score": 0.97,
        "pair": {"source": "camera"},
        "model": {"sha256": "ab" * 32},
    }
    return body | changes
