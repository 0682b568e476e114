"""Which store the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.config.store import StoreSettings
from service.config.settings import Settings
from service.store.base import Store, StoreLimits
from service.store.memory import MemoryStore

CLAIM_MARGIN_S = 40.0
"""Longer than a request may wait for its body and for a pair of the cameras, before it is judged."""


def limits_of(settings: Settings) -> StoreLimits:
    """Return what ``settings`` say of how long and how much is remembered."""
    limits, auth = settings.limits, settings.auth
    return StoreLimits(
        replay_s=limits.replay_s,
        replays=limits.replays,
        claim_s=limits.judge_s + CLAIM_MARGIN_S,
        session_s=auth.session_s,
        failures=auth.failures,
        failures_s=auth.failures_s,
        rate_per_s=limits.rate_per_s,
        burst=limits.burst,
    )


def check_store(settings: StoreSettings) -> None:
    """Make sure of what a shared store needs on this machine; it is not asked.

    Raises:
        ConfigError: the package for it is not installed, or a file for TLS cannot be used.
    """
    if settings.url is not None:
        from service.store.link import import_redis

        import_redis()
        settings.check_files()


def open_store(
    settings: Settings,
    *,
    observe: Callable[[float], None] = lambda seconds: None,
    now_s: Callable[[], float] = time.monotonic,
) -> Store:
    """Return the store of ``settings``: this process's own, or the shared one where ``store.url`` is set.

    ``observe``: told the seconds of each call of a shared store. ``now_s``: monotonic seconds.

    Raises:
        ConfigError: the package for it is not installed, or a file for TLS cannot be used.
    """
    if settings.store.url is None:
        return MemoryStore(limits_of(settings), now_s)
    from service.store import shared

    return shared.SharedStore(
        settings.store, limits_of(settings), settle_s=shared.SETTLE_S, beat_s=shared.BEAT_S, observe=observe
    )
