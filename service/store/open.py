"""Open the store selected by the settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.config.store import StoreSettings
from service.config.settings import Settings
from service.store.base import Store, StoreLimits
from service.store.memory import MemoryStore

CLAIM_MARGIN_S = 40.0
"""Time in seconds added to the lifetime of a claim. It is longer than a request may wait for its body and for a camera
pair before it is scored."""


def limits_of(settings: Settings) -> StoreLimits:
    """Return the store limits in ``settings``."""
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
    """Check that this machine has what a shared store needs, without connecting to it.

    Raises:
        ConfigError: the package redis is not installed, or a TLS file cannot be used.
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
    """Return the store of ``settings``: the in-process store, or the shared one if ``store.url`` is set.

    ``observe``: called with the duration of each call to a shared store, in seconds. ``now_s``: monotonic clock in
    seconds.

    Raises:
        ConfigError: the package redis is not installed, or a TLS file cannot be used.
    """
    if settings.store.url is None:
        return MemoryStore(limits_of(settings), now_s)
    from service.store import shared

    return shared.SharedStore(
        settings.store, limits_of(settings), settle_s=shared.SETTLE_S, beat_s=shared.BEAT_S, observe=observe
    )
