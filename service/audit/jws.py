"""Compact JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037), and no other part of JOSE.

The algorithm and the type are fixed, so the header of a token cannot choose them. Libraries that read the algorithm
from the token have accepted ``none``, and have used public keys as shared secrets. This small module cannot do either,
which makes it the smaller risk.
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
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_part(text: str) -> bytes:
    """Decode base64url and require the canonical encoding, so that two different texts are never the same token.

    Raises:
        TokenInvalid: the text has padding, invalid characters or unused bits that are not zero.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise TokenInvalid("the token's parts are not base64url.") from error
    if encode_part(data) != text:
        raise TokenInvalid("the token's parts are not canonical base64url.")
    return data


def canonical(value: Any) -> bytes:
    """Encode as UTF-8 JSON with sorted keys and without spaces. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode("utf-8")


def key_id(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of a raw Ed25519 public key, in base64url."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": encode_part(public)}
    return encode_part(hashlib.sha256(canonical(jwk)).digest())


class Signer:
    """Signer with one private key.

    Raises:
        ConfigError: the file at ``path`` is not an unencrypted Ed25519 key in PEM.
        EngineUnavailable: cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._key = read_private_key(path)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, kind: str, claims: dict[str, Any]) -> str:
        """Return a compact JWS of ``claims`` with ``kind`` as its ``typ``."""
        header = {"alg": ALGORITHM, "kid": self.key_id, "typ": kind}
        signed = f"{encode_part(canonical(header))}.{encode_part(canonical(claims))}"
        return f"{signed}.{encode_part(self._key.sign(signed.encode('ascii')))}"


class Verifier:
    """Verifier with one public key.

    Raises:
        ConfigError: the file at ``path`` is not an Ed25519 key in PEM.
        EngineUnavailable: cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._key = read_public_key(path)
        self.key_id = key_id(self._key.public_bytes_raw())

    def verify(self, kind: str, token: str) -> dict[str, Any]:
        """Return the claims of ``token`` after checking that this key signed it and that its ``typ`` is ``kind``.

        Raises:
            TokenInvalid: the token must be rejected. The message says why.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise TokenInvalid("the token is too long or contains characters that are not ASCII.")
        parts = token.split(".")
        if len(parts) != 3:
            raise TokenInvalid("a token has three parts, joined by dots.")
        header = _object(decode_part(parts[0]), "header")
        # Require exactly these members, because others (crit, jwk, b64) could change the meaning of the rest.
        if header.get("alg") != ALGORITHM or header.get("typ") != kind or set(header) != {"alg", "kid", "typ"}:
            raise TokenInvalid(f"the token's header is not the header of {kind} signed with {ALGORITHM}.")
        if header["kid"] != self.key_id:
            raise TokenInvalid("the token was signed by another key.")
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(decode_part(parts[2]), f"{parts[0]}.{parts[1]}".encode("ascii"))
        except InvalidSignature as error:
            raise TokenInvalid("the signature is wrong: the token was altered, or signed by another key.") from error
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
