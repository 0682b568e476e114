"""What ``--check-config`` and every start of ``adsn-serve`` find wrong before anything listens."""

from __future__ import annotations

from service.config.settings import Settings


def check(settings: Settings) -> None:
    """Make sure that the files which the settings name can be used.

    Raises:
        ConfigError: says which setting, its value and what to do.
    """
    settings.tls.context()
