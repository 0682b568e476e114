"""Check the settings before anything is opened, for ``--check-config`` and at every start of ``adsn-kiosk``."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.core.errors import ConfigError
from service.config.check import check_face, check_model, check_place, check_remote, check_rig, check_trust, setting
from service.kiosk.config import KioskSettings
from service.kiosk.wiring import broker_of, page_settings, webhook_of
from service.outputs.broker import import_aiomqtt
from service.outputs.relay import import_gpiod


def check(settings: KioskSettings) -> None:
    """Check everything that can be checked without opening a camera, a GPIO line, a connection or an engine.

    Raises:
        ConfigError: a setting is wrong. The message gives the setting, its value and what to do.
    """
    check_outputs(settings)
    check_trust(settings.attestation, settings.audit)
    check_remote(settings.remote)
    check_face(settings.face)
    check_rig(settings.rig)
    check_model(
        settings.bundle, settings.bundle_key, engine=settings.engine, precision=settings.precision, rig=settings.rig
    )


def check_outputs(settings: KioskSettings) -> None:
    """Check that everything the outputs need exists: packages, files, a program, and folders for logs.

    Raises:
        ConfigError: something is missing or unusable, or other hosts could use the console without a key.
    """
    page_settings(settings)
    if settings.mqtt is not None:
        with setting("mqtt"):
            import_aiomqtt()
        broker_of(settings.mqtt).context()
    if settings.webhook is not None:
        webhook_of(settings.webhook).close()
    if settings.gpio is not None:
        with setting("gpio"):
            import_gpiod()
    if settings.command is not None:
        program = Path(settings.command.argv[0])
        if not program.is_file() or not os.access(program, os.X_OK):
            raise ConfigError(
                f"command.argv: {program} is not an executable file. Set another, or make it executable (chmod +x)."
            )
    if settings.log.path is not None:
        check_place("log.path", settings.log.path)
        if settings.audit.path is not None and os.path.realpath(settings.log.path) == os.path.realpath(
            settings.audit.path
        ):
            raise ConfigError(f"log.path: {settings.log.path} is also the audit log. Give each log its own file.")
