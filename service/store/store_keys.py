"""Names of the keys in a shared store. They are hashes, so the store contains no names, addresses or nonces."""

from __future__ import annotations

import hashlib
from typing import Literal

from service.store.base import Claim, Nonce
from service.store.sessions import network_of

HASH_CHARS = 40
Counted = Literal["nonces", "answers", "sessions"]


class StoreKeys:
    """Factory of keys that begin with ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.ledger = f"{prefix}ledger"

    def nonce(self, nonce: Nonce) -> str:
        return self._key("nonce", nonce.caller, nonce.text)

    def answer(self, claim: Claim) -> str:
        return self._key("answer", claim.caller, claim.key)

    def session(self, digest: str) -> str:
        return self._key("session", digest)

    def count(self, counted: Counted, owner: str) -> str:
        """Return the key of the number of ``counted`` that ``owner`` has."""
        return self._key("count", counted, owner)

    def failures(self, address: str) -> str:
        return self._key("failures", network_of(address))

    def rate(self, caller: str) -> str:
        return self._key("rate", caller)

    def _key(self, kind: str, *parts: str) -> str:
        joined = "\0".join(parts).encode("utf-8", "surrogateescape")
        return f"{self._prefix}{kind}:{hashlib.sha256(joined).hexdigest()[:HASH_CHARS]}"
