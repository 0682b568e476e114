"""Settings of keys, attestations, the audit log, and remote scoring."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from runtime.config.host_name import HostName
from runtime.engines.remote.connection import RemoteSettings
from service.audit.attestation import DEVICE, Attester
from service.audit.jws import Signer
from service.audit.log import AuditLog
from service.audit.log import AuditLogOptions as LogSettings
from service.audit.trail import DecisionTrail
from service.config.section import Section


class AuthSettings(Section):
    """API keys and browser sessions."""

    keys: Path | None = Field(default=None, description="Key file; adsn-serve key new prints entries for it.")
    session_s: float = Field(
        default=8 * 3600, gt=0, le=31_536_000, description="Lifetime of a browser session, in seconds."
    )
    failures: int = Field(
        default=10, ge=1, description="Wrong keys within failures_s after which an address must wait."
    )
    failures_s: float = Field(
        default=60, gt=0, le=86_400, description="Time window in which wrong keys are counted, in seconds."
    )
    hosts: tuple[HostName, ...] = Field(
        default=(), description="Host names, besides localhost, that a service without keys accepts."
    )


class AttestationSettings(Section):
    """Signed responses."""

    key: Path | None = Field(default=None, description="Ed25519 private key (PEM), from adsn-serve keygen.")
    device: str = Field(
        default_factory=socket.gethostname,
        pattern=f"^{DEVICE.pattern}$",
        description="Name of this device in attestations.",
    )
    lifetime_s: int = Field(default=60, ge=1, le=86_400, description="Lifetime of an attestation, in seconds.")

    def signer(self) -> Signer | None:
        """Return the signer, or None if no key is configured. Raises `ConfigError` if the key cannot be used."""
        return Signer(self.key) if self.key is not None else None

    def attester(self) -> Attester | None:
        """Return the attester, or None if no key is configured. Raises the same errors as `signer`."""
        signer = self.signer()
        return Attester(signer, self.device, self.lifetime_s) if signer is not None else None


class AuditSettings(Section):
    """The audit log of decisions."""

    path: Path | None = Field(default=None, description="File of the audit log; unset: no audit log.")
    policy: Literal["required", "best-effort"] = Field(
        default="required",
        description="If a line cannot be written: required returns no decision, best-effort records a gap.",
    )
    sync: Literal["each", "none"] = Field(
        default="each", description="each: flush each line to disk before its decision is returned. none: do not wait."
    )
    max_bytes: int = Field(
        default=64 << 20, ge=4096, description="Size at which the file is closed and a new one begun, in bytes."
    )
    keep: int = Field(default=0, ge=0, description="Number of closed files to keep; 0: all.")
    checkpoint_every: int = Field(
        default=100, ge=1, description="Lines between checkpoints, which are signed with attestation.key."
    )
    replica: str = Field(
        default_factory=socket.gethostname,
        pattern=f"^{DEVICE.pattern}$",
        description="Name of this process in its log, to tell the logs of several processes apart.",
    )

    def open(self, signer: Signer | None) -> AuditLog | None:
        """Open and return the audit log, or return None if none is configured.

        Raises:
            ConfigError: the log cannot be opened. AuditBroken: the file is not an audit log.
        """
        if self.path is None:
            return None
        return AuditLog(LogSettings(**self.model_dump()), signer)


def open_trail(attestation: AttestationSettings, audit: AuditSettings) -> DecisionTrail:
    """Open the audit log and the signing key, if they are configured.

    Raises:
        ConfigError: the key or the log cannot be used. AuditBroken: the file is not an audit log.
    """
    attester = attestation.attester()
    return DecisionTrail(attester, audit.open(attester.signer if attester is not None else None), attestation.device)


class RemoteEngineSettings(Section):
    """The scoring server for ``engine = "remote"``."""

    url: str | None = Field(
        default=None, description="https://HOST:PORT of a server that speaks the Open Inference Protocol v2."
    )
    model: str = Field(default="", description="Name of the model on the server; default: the bundle's name.")
    key: SecretStr | None = Field(default=None, description="API key to send; it needs the role infer.")
    ca: Path | None = Field(
        default=None, description="CA certificates (PEM) to verify the server; default: the system's."
    )
    certificate: Path | None = Field(default=None, description="Client certificate (PEM), if the server requires one.")
    certificate_key: Path | None = Field(default=None, description="Private key of the certificate (PEM).")
    timeout_ms: float = Field(
        default=2000, gt=0, le=60_000, description="Timeout for one batch with all retries, in milliseconds."
    )
    retries: int = Field(default=2, ge=0, le=10, description="Number of retries if the server is busy or unreachable.")
    plaintext: bool = Field(default=False, description="Allow http:// to other machines; another layer must encrypt.")

    @model_validator(mode="after")
    def _require_both(self) -> RemoteEngineSettings:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("set both certificate and certificate_key, or neither.")
        return self

    def engine(self) -> RemoteSettings | None:
        """Return the settings of the remote engine, or None if no address is configured."""
        if self.url is None:
            return None
        return RemoteSettings(
            url=self.url,
            key=self.key.get_secret_value() if self.key is not None else None,
            ca=self.ca,
            certificate=self.certificate,
            certificate_key=self.certificate_key,
            timeout_s=self.timeout_ms / 1000,
            retries=self.retries,
            plaintext=self.plaintext,
            model=self.model,
        )
