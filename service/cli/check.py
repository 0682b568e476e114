"""Check the settings before anything is opened, for ``--check-config`` and at every start of ``adsn-serve``."""

from __future__ import annotations

from service.auth.keys import KeyRing, read_keys
from service.config.check import check_face, check_model, check_remote, check_rig, check_trust, setting
from service.config.settings import Settings
from service.store.open import check_store


def check(settings: Settings) -> None:
    """Check everything that can be checked without opening a camera, a socket or an engine.

    Raises:
        ConfigError: a setting is wrong. The message gives the setting, its value and what to do.
    """
    settings.tls.context()
    if settings.auth.keys is not None:
        with setting("auth.keys"):
            KeyRing(read_keys(settings.auth.keys))
    check_trust(settings.attestation, settings.audit)
    check_remote(settings.remote)
    check_store(settings.store)
    check_face(settings.face)
    check_rig(settings.rig)
    check_model(
        settings.bundle,
        settings.bundle_key,
        engine=settings.engine,
        precision=settings.precision,
        rig=settings.rig,
    )
