"""Attestations: signed decisions that a relying party can verify later and offline.

An attestation is a compact JWS of the claims below. It states one decision of this device and can only be created from
the response body with that decision. Relying parties must check ``source`` as well as ``decision``, because nobody
knows where the images of an uploaded pair were captured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.core.errors import ConfigError, TokenInvalid
from service.audit.jws import Signer, Verifier

TYPE = "adsn-liveness+jws"
CLOCK_SKEW_S = 30
"""Accepted difference between the clocks of two machines, in seconds: a token issued this far in the future is still
valid."""
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class Claims(BaseModel):
    """The signed claims. ``decision`` is always present; only ``live`` may open anything."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    iss: str = Field(description="Configured name of the device that decided.")
    jti: str = Field(description="Request id of the response.")
    iat: int = Field(ge=0, description="Time of the decision, in seconds since 1970, UTC.")
    exp: int = Field(ge=0, description="Time of expiry, in seconds since 1970, UTC.")
    contract_version: str
    decision: Literal["live", "spoof", "uncertain"]
    reasons: list[str]
    source: Literal["upload", "camera"] = Field(description="Origin of the images: uploaded, or this device's cameras.")
    model_sha256: str
    nonce: str | None = Field(description="The relying party's nonce; null if the caller gave none.")
    session_id: str | None
    score: float | None = Field(ge=0, le=1, description="Null if the operator hides scores.")

    @property
    def live(self) -> bool:
        """Whether the decision is ``live``."""
        return self.decision == "live"


@dataclass(frozen=True, slots=True)
class Attester:
    """Issuer of attestations. ``device``: name of this machine in the tokens. ``lifetime_s``: lifetime of a token in
    seconds.

    Raises:
        ConfigError: ``device`` contains characters that are not allowed.
    """

    signer: Signer
    device: str
    lifetime_s: int = 60

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise ConfigError(
                f"ADSN_DEVICE_ID: {self.device!r} is not a valid name. Use at most 64 letters, digits and . _ : -"
            )

    def attest(self, answer: Mapping[str, Any], nonce: str | None, now_s: int, until_s: int | None = None) -> str:
        """Return the attestation of ``answer``.

        ``answer``: response body of ``POST /liveness``, or a decision of a kiosk in that form. ``now_s``: current time
        in seconds since 1970. ``until_s``: latest expiry, which can shorten the lifetime.

        Raises:
            pydantic.ValidationError: ``answer`` has a different form. Nothing is signed.
        """
        claims = Claims(
            iss=self.device,
            jti=answer["request_id"],
            iat=now_s,
            exp=now_s + self.lifetime_s if until_s is None else min(until_s, now_s + self.lifetime_s),
            contract_version=answer["contract_version"],
            decision=answer["decision"],
            reasons=list(answer["reasons"]),
            source=answer["pair"]["source"],
            model_sha256=answer["model"]["sha256"],
            nonce=nonce,
            session_id=answer["session_id"],
            score=answer["score"],
        )
        return self.signer.sign(TYPE, claims.model_dump())


def verify_attestation(
    token: str, verifier: Verifier, now_s: int, *, nonce: str | None = None, device: str | None = None
) -> Claims:
    """Verify ``token`` and return its claims.

    The token must be signed with the key of ``verifier``, must not have expired, and must match ``nonce`` and
    ``device`` if they are given. The caller must check whether the decision is ``live``. Without a nonce, a replayed
    token is accepted until it expires.

    Raises:
        TokenInvalid: the token must be rejected. The message says why.
    """
    payload = verifier.verify(TYPE, token.strip())
    try:
        claims = Claims.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise TokenInvalid(
            f"the token's claims are wrong: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from error
    if claims.iat > now_s + CLOCK_SKEW_S:
        raise TokenInvalid(f"the token was issued {claims.iat - now_s} s in the future. Compare both machines' clocks.")
    if now_s >= claims.exp:
        raise TokenInvalid(f"the token expired {now_s - claims.exp} s ago.")
    if nonce is not None and claims.nonce != nonce:
        raise TokenInvalid("the token has another nonce: it was issued for another request.")
    if device is not None and claims.iss != device:
        raise TokenInvalid(f"the token was issued by the device {claims.iss!r}, not {device!r}.")
    return claims
