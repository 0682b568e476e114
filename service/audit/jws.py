"""Compact JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037), and nothing else of JOSE.

One algorithm and one type, both fixed by the caller: the header of a token that comes in chooses nothing. Libraries
that read the algorithm from the token have verified ``none`` and have used public keys as shared secrets; forty lines
that cannot are the smaller risk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

from runtime.bundle.signature import read_private_key, read_public_key
from runtime.core.errors import TokenInvalid

ALGORITHM = "EdDSA"
MAX_TOKEN_CHARS = 16_384


def encode_part(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_part(text: str) -> bytes:
    """The bytes of ``text``, if it is their only encoding.

    Raises:
        TokenInvalid: padding, foreign characters, or bits that mean nothing: two texts must not be one token.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise TokenInvalid("the token's parts are not base64url.") from error
    if encode_part(data) != text:
        raise TokenInvalid("the token's parts are not base64url in its one form.")
    return data


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode("utf-8")


def key_id(public: bytes) -> str:
    """RFC 7638 thumbprint of a raw Ed25519 public key, base64url."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": encode_part(public)}
    return encode_part(hashlib.sha256(canonical(jwk)).digest())


class Signer:
    """Signs with one private key.

    Raises:
        ConfigError: the file at ``path`` is no unencrypted Ed25519 key in PEM. EngineUnavailable: no cryptography.
    """

    def __init__(self, path: Path) -> None:
        self._key = read_private_key(path)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, kind: str, claims: dict[str, Any]) -> str:
        """A compact JWS of ``claims`` whose ``typ`` is ``kind``."""
        header = {"alg": ALGORITHM, "kid": self.key_id, "typ": kind}
        signed = f"{encode_part(canonical(header))}.{encode_part(canonical(claims))}"
        return f"{signed}.{encode_part(self._key.sign(signed.encode('ascii')))}"


class Verifier:
    """Verifies with one public key.

    Raises:
        ConfigError: the file at ``path`` is no Ed25519 key in PEM. EngineUnavailable: no cryptography.
    """

    def __init__(self, path: Path) -> None:
        self._key = read_public_key(path)
        self.key_id = key_id(self._key.public_bytes_raw())

    def verify(self, kind: str, token: str) -> dict[str, Any]:
        """The claims of ``token``, if this key signed it and its ``typ`` is ``kind``.

        Raises:
            TokenInvalid: it is not; says why.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise TokenInvalid("the token is too long, or not text of a token.")
        parts = token.split(".")
        if len(parts) != 3:
            raise TokenInvalid("a token has three parts, joined by dots.")
        header = _object(decode_part(parts[0]), "header")
        # Exactly these members: one that is not known (crit, jwk, b64) could change what the rest means.
        if header.get("alg") != ALGORITHM or header.get("typ") != kind or set(header) != {"alg", "kid", "typ"}:
            raise TokenInvalid(f"the token's header is not that of {kind} signed with {ALGORITHM}.")
        if header["kid"] != self.key_id:
            raise TokenInvalid("the token was signed by another key.")
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(decode_part(parts[2]), f"{parts[0]}.{parts[1]}".encode("ascii"))
        except InvalidSignature as error:
            raise TokenInvalid("the signature does not fit: the token was changed, or made by another.") from error
        return _object(decode_part(parts[1]), "claims")


def _object(data: bytes, what: str) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member appears twice")
        return found

    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise TokenInvalid(f"the token's {what} is not JSON.") from error
    if not isinstance(found, dict):
        raise TokenInvalid(f"the token's {what} is not an object.")
    return found
