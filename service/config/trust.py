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
    """Keys and sessions."""

    keys: Path | None = Field(default=None, description="File of keys; adsn-serve key new prints what belongs there.")
    session_s: float = Field(default=8 * 3600, gt=0, le=31_536_000, description="Lifetime of a browser's session, s.")
    failures: int = Field(default=10, ge=1, description="Wrong keys per address within failures_s; then it waits.")
    failures_s: float = Field(default=60, gt=0, le=86_400, description="Window in which wrong keys are counted, s.")
    hosts: tuple[HostName, ...] = Field(
        default=(), description="Names by which a service without keys may be called, besides localhost."
    )


class AttestationSettings(Section):
    """Signed answers."""

    key: Path | None = Field(default=None, description="Ed25519 private key (PEM), from adsn-serve keygen.")
    device: str = Field(
        default_factory=socket.gethostname,
        pattern=f"^{DEVICE.pattern}$",
        description="This device's name in what it signs.",
    )
    lifetime_s: int = Field(default=60, ge=1, le=86_400, description="Lifetime of an attestation, s.")

    def signer(self) -> Signer | None:
        """What signs, or None where no key is configured. Raises `ConfigError` when the key cannot be used."""
        return Signer(self.key) if self.key is not None else None

    def attester(self) -> Attester | None:
        """What makes attestations, or None. Raises as `signer`."""
        signer = self.signer()
        return Attester(signer, self.device, self.lifetime_s) if signer is not None else None


class AuditSettings(Section):
    """The log of decisions."""

    path: Path | None = Field(default=None, description="File to write it to; none is written without.")
    policy: Literal["required", "best-effort"] = Field(
        default="required", description="What a line that cannot be written means: no decision, or a stated gap."
    )
    sync: Literal["each", "none"] = Field(
        default="each", description="Whether each line is on the disk before its decision is given."
    )
    max_bytes: int = Field(default=64 << 20, ge=4096, description="A larger file is closed and the next one begun.")
    keep: int = Field(default=0, ge=0, description="Closed files that are kept; 0: all.")
    checkpoint_every: int = Field(
        default=100, ge=1, description="Lines between checkpoints, signed with attestation.key."
    )
    replica: str = Field(
        default_factory=socket.gethostname,
        pattern=f"^{DEVICE.pattern}$",
        description="This process's name in its log, where several processes write logs.",
    )

    def open(self, signer: Signer | None) -> AuditLog | None:
        """The log, or None where none is configured.

        Raises:
            ConfigError: it cannot be opened. AuditBroken: what is there is no audit log.
        """
        if self.path is None:
            return None
        return AuditLog(LogSettings(**self.model_dump()), signer)


def open_trail(attestation: AttestationSettings, audit: AuditSettings) -> DecisionTrail:
    """Open the audit log and the signing key, where they are configured.

    Raises:
        ConfigError: the key or the log cannot be used. AuditBroken: the file is not an audit log.
    """
    attester = attestation.attester()
    return DecisionTrail(attester, audit.open(attester.signer if attester is not None else None), attestation.device)


class RemoteEngineSettings(Section):
    """A scoring server, for ``engine = "remote"``."""

    url: str | None = Field(
        default=None, description="https://HOST:PORT of a server of the Open Inference Protocol v2."
    )
    model: str = Field(default="", description="The model's name there; default: the bundle's.")
    key: SecretStr | None = Field(default=None, description="Key to present to it; one with the role infer.")
    ca: Path | None = Field(default=None, description="Certificate authority to trust instead of the system's, PEM.")
    certificate: Path | None = Field(default=None, description="This device's certificate, where the server asks, PEM.")
    certificate_key: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout_ms: float = Field(default=2000, gt=0, le=60_000, description="For one batch with all its retries.")
    retries: int = Field(default=2, ge=0, le=10, description="Times to ask again when the server is busy or gone.")
    plaintext: bool = Field(default=False, description="Allow http:// to other machines; another layer must encrypt.")

    @model_validator(mode="after")
    def _both(self) -> RemoteEngineSettings:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("name both certificate and certificate_key, or neither.")
        return self

    def engine(self) -> RemoteSettings | None:
        """What the remote engine is made with, or None where no address is configured."""
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
