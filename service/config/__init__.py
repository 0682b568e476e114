"""Settings of the service."""

from service.config.settings import LimitSettings, LogSettings, Settings, TlsSettings, is_loopback, read_settings
from service.config.trust import AttestationSettings, AuditSettings, AuthSettings, RemoteEngineSettings, open_trail

__all__ = [
    "AttestationSettings",
    "AuditSettings",
    "AuthSettings",
    "LimitSettings",
    "LogSettings",
    "RemoteEngineSettings",
    "Settings",
    "TlsSettings",
    "is_loopback",
    "open_trail",
    "read_settings",
]
