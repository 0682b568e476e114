"""Signed answers: what a relying party can check later, elsewhere and without asking.

An attestation is a compact JWS of the claims below. It says what this device decided of one pair, once; it can only be
made from an answer's own body. ``source`` matters as much as ``decision``: of an uploaded pair nobody knows where its
pictures were taken.
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
"""How far two machines' clocks may be apart: a token from so far in the future is still taken."""
MAX_NONCE_CHARS = 128
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class Claims(BaseModel):
    """What is signed. ``decision`` is always there; only ``live`` may open anything."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    iss: str = Field(description="Device that decided, as configured.")
    jti: str = Field(description="Request id of the answer.")
    iat: int = Field(ge=0, description="When it was decided; seconds since 1970, UTC.")
    exp: int = Field(ge=0, description="From when on it proves nothing.")
    contract_version: str
    decision: Literal["live", "spoof", "uncertain"]
    reasons: list[str]
    source: Literal["upload", "camera"] = Field(description="Who took the pictures: the caller, or this device's rig.")
    model_sha256: str
    nonce: str | None = Field(description="The relying party's own; null where the caller gave none.")
    session_id: str | None
    score: float | None = Field(ge=0, le=1, description="Null where the operator hides scores.")

    @property
    def live(self) -> bool:
        """Whether a living person was decided."""
        return self.decision == "live"


@dataclass(frozen=True, slots=True)
class Attester:
    """Signs answers. ``device``: this machine's name in them. ``lifetime_s``: how long a token may be used.

    Raises:
        ConfigError: ``device`` is no plain name.
    """

    signer: Signer
    device: str
    lifetime_s: int = 60

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise ConfigError(
                f"ADSN_DEVICE_ID: {self.device!r} is not a plain name of letters, digits and . _ : - (64 at most)."
            )

    def attest(self, answer: Mapping[str, Any], nonce: str | None, now_s: int, until_s: int | None = None) -> str:
        """The token of ``answer``, the body of a 200 of ``POST /liveness``, or a kiosk's decision of the same form.

        ``now_s``: seconds since 1970. ``until_s``: when it expires at the latest, where that is before its lifetime's
        end.

        Raises:
            pydantic.ValidationError: the body is not such an answer; nothing is signed then.
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
    """The claims of ``token`` if they are ``verifier``'s, in time, and for ``nonce`` and ``device`` where given.

    Whether the decision was ``live`` is the caller's to ask of the claims. Without a nonce of one's own, a token that
    was seen before looks like a new one until it expires.

    Raises:
        TokenInvalid: it proves nothing; says why.
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
        raise TokenInvalid(f"the token is from {claims.iat - now_s} s in the future; compare the two machines' clocks.")
    if now_s >= claims.exp:
        raise TokenInvalid(f"the token expired {now_s - claims.exp} s ago.")
    if nonce is not None and claims.nonce != nonce:
        raise TokenInvalid("the token is for another nonce: it answers someone else's question, or an older one.")
    if device is not None and claims.iss != device:
        raise TokenInvalid(f"the token is from the device {claims.iss!r}, not {device!r}.")
    return claims
