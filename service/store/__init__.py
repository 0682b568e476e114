"""State about callers that outlives a request: kept in this process, or in a store that all replicas share."""

from service.store.base import (
    Claim,
    Nonce,
    SessionRecord,
    Store,
    StoreLimits,
    StoreStatus,
    session_digest,
)
from service.store.memory import MemoryStore
from service.store.open import check_store, open_store

__all__ = [
    "Claim",
    "MemoryStore",
    "Nonce",
    "SessionRecord",
    "Store",
    "StoreLimits",
    "StoreStatus",
    "check_store",
    "open_store",
    "session_digest",
]
