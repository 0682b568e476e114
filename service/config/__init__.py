"""Settings of the service."""

from service.config.settings import LimitSettings, LogSettings, Settings, TlsSettings, read_settings
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
    "open_trail",
    "read_settings",
]
