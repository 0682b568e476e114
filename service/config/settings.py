"""What an operator may set: a TOML file, a folder of secrets, ``ADSN_`` environment variables, command-line options."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from runtime.config.host_name import HostName
from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.core.processors import usable_cores
from runtime.core.tls_files import TlsFile, server_context
from runtime.face.open import FaceSettings
from runtime.liveness.open import default_bundle
from service.config.section import Section
from service.config.trust import AttestationSettings, AuditSettings, AuthSettings, RemoteEngineSettings

HEADER_TEXT = re.compile(r"[!-~]+")
OTHERS = ("ADSN_KIOSK_", "ADSN_FACE_MODEL", "ADSN_ENGINE_CACHE", "ADSN_CONFIG", "ADSN_TEST_")
"""Variables of other programs of this project, and the one that names the file."""


class LimitSettings(Section):
    """How much of everything is accepted. What is over a limit is refused before it costs anything."""

    body_bytes: int = Field(default=8 << 20, ge=1024, description="Largest request body, counted as it arrives.")
    part_bytes: int = Field(default=6 << 20, ge=1024, description="Largest single picture in it.")
    pixels: int = Field(default=16_000_000, ge=4096, description="Largest picture, from its header.")
    pair_bytes: int = Field(
        default=56 << 20, ge=1 << 20, description="Most memory that decoding a pair may take, from its headers."
    )
    queue: int = Field(default=16, ge=0, description="Pairs that may wait for a worker; more are turned away.")
    rate_per_s: float = Field(default=0, ge=0, description="Pairs a second for each key, in the long run; 0: any.")
    burst: int = Field(default=20, ge=1, description="Pairs that a key may send at once, with rate_per_s set.")
    max_age_ms: float = Field(
        default=10_000,
        gt=0,
        le=86_400_000,
        description="An uploaded pair whose clock is known is stale when it is older.",
    )
    judge_s: float = Field(default=10, gt=0, le=3600, description="Timeout for judging one pair, s; then 503.")
    replay_s: float = Field(default=600, gt=0, le=31_536_000, description="Lifetime of nonces and Idempotency-Keys, s.")
    replays: int = Field(
        default=10_000, ge=1, description="How many nonces of one key, and answers of all, are remembered."
    )
    connections: int = Field(default=256, ge=1, description="Open connections; more are turned away.")
    per_address: int = Field(
        default=0, ge=0, description="Open connections from one address; 0: half of all. Raise it behind a proxy."
    )
    header_bytes: int = Field(default=16 << 10, ge=1024, description="Largest request line and headers.")
    header_s: float = Field(default=5, gt=0, le=3600, description="Timeout for reading a request's headers, s.")
    body_s: float = Field(default=10, gt=0, le=3600, description="Timeout for reading its body, s.")
    idle_s: int = Field(default=20, ge=1, le=86_400, description="An idle connection is closed after this time, s.")
    write_s: float = Field(default=20, gt=0, le=3600, description="So is one that takes nothing of its answer, s.")

    @property
    def address_share(self) -> int:
        """Connections that one address may have open."""
        return self.per_address or max(1, self.connections // 2)


class LogSettings(Section):
    """What the log looks like. Neither pictures nor keys ever enter it."""

    format: Literal["console", "json"] = Field(default="console", description="For people, or one JSON object a line.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe that is shown."
    )


class BatchSettings(Section):
    """Joining pairs that are scored at the same time into one call of the engine."""

    pairs: int = Field(default=1, ge=1, le=64, description="Most pairs in one call of the engine; 1: each alone.")
    wait_ms: float = Field(default=0, ge=0, le=1000, description="How long a pair waits for others to join, ms.")


class TlsSettings(Section):
    """HTTPS. Both files or neither."""

    certificate: Path | None = Field(default=None, description="Certificate chain, PEM.")
    key: Path | None = Field(default=None, description="Its private key, PEM.")
    client_ca: Path | None = Field(
        default=None, description="Authority of clients' certificates, PEM; who has none gets no connection."
    )

    @model_validator(mode="after")
    def _both(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("name both certificate and key, or neither.")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("clients' certificates are asked for over TLS only: name certificate and key too.")
        return self

    def context(self) -> ssl.SSLContext | None:
        """What the service speaks TLS with, None where it speaks plain HTTP.

        Raises:
            ConfigError: a file cannot be used; says which, why and what to do.
        """
        if self.certificate is None or self.key is None:
            return None
        authorities = TlsFile("tls.client_ca", self.client_ca) if self.client_ca is not None else None
        return server_context(TlsFile("tls.certificate", self.certificate), TlsFile("tls.key", self.key), authorities)


class Settings(Section):
    """Settings of the HTTP service."""

    host: HostName = Field(default="127.0.0.1", description="Address to listen on. Any but loopback needs an API key.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    bundle: Path = Field(default_factory=default_bundle, description="Model folder.")
    bundle_key: Path | None = Field(
        default=None, description="Ed25519 public key (PEM); with it, only a bundle signed by its owner is loaded."
    )
    engine: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu", "remote"] = Field(
        default="auto", description="What runs the model; auto: the fastest that works here."
    )
    require_engine: bool = Field(default=False, description="Fail when that engine does not work, instead of the next.")
    precision: Literal["int8", "fp32"] = Field(default="int8", description="Which of the bundle's models to run.")
    profile: Literal["throughput", "latency"] = Field(
        default="throughput",
        description="throughput: a worker on each core, one thread for each pair. latency: one worker, and all cores "
        "for its pair; for larger models, or processors with many cores, that are asked one pair at a time.",
    )
    workers: int = Field(default=0, ge=0, le=64, description="Pairs scored at the same time; 0: as the profile says.")
    batch: BatchSettings = Field(default_factory=BatchSettings, description="Pairs scored in one call of the engine.")
    api_key: SecretStr | None = Field(default=None, description="Key that callers must present.")
    expose_score: bool = Field(default=True, description="False hides scores, threshold and explanations.")
    drain_s: float = Field(default=5, gt=0, le=60, description="Time that running requests have at a stop, s.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="How much of everything is accepted.")
    log: LogSettings = Field(default_factory=LogSettings, description="What the log looks like.")
    tls: TlsSettings = Field(default_factory=TlsSettings, description="HTTPS.")
    auth: AuthSettings = Field(default_factory=AuthSettings, description="Keys and sessions.")
    attestation: AttestationSettings = Field(default_factory=AttestationSettings, description="Signed answers.")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The log of decisions.")
    remote: RemoteEngineSettings = Field(
        default_factory=RemoteEngineSettings, description="A scoring server, for engine = remote."
    )
    rig: RigSettings = Field(default_factory=RigSettings, description="Cameras, for pairs that nobody uploads.")
    face: FaceSettings = Field(default_factory=FaceSettings, description="How the face is found.")

    @property
    def worker_count(self) -> int:
        """How many pairs are scored at the same time."""
        if self.workers:
            return self.workers
        return usable_cores() if self.profile == "throughput" else 1

    def require_safe(self) -> None:
        """Raise `ConfigError` when the service would be open to others without a key."""
        if self.api_key is not None and len(self.api_key.get_secret_value()) < 16:
            raise ConfigError("ADSN_API_KEY is shorter than 16 characters. Use a long random one: openssl rand -hex 24")
        if self.api_key is not None and not HEADER_TEXT.fullmatch(self.api_key.get_secret_value()):
            raise ConfigError(
                "ADSN_API_KEY holds what no header can carry, so that no caller could present it: a key is printable "
                "ASCII characters without blanks or line breaks."
            )
        keyless = self.api_key is None and self.auth.keys is None and self.tls.client_ca is None
        if keyless and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host} without an API key would let anyone on the network ask for scores. Set "
                "ADSN_AUTH__KEYS or ADSN_API_KEY, ask clients for certificates (ADSN_TLS__CLIENT_CA), or listen on "
                "127.0.0.1."
            )
        if self.engine == "remote" and self.remote.url is None:
            raise ConfigError("engine is remote, and remote.url names no scoring server.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; names other than localhost count as reachable by others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_settings(
    path: Path | None = None,
    *,
    secrets: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from the file at ``path`` (default: ``ADSN_CONFIG``), the folder ``secrets``, the environment and
    ``options`` (dotted keys); what is said later wins, and an option that is None is not said.

    Raises:
        ConfigError: names every wrong entry.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("ADSN_CONFIG"):
        path = Path(environ["ADSN_CONFIG"])
    own = {name: value for name, value in environ.items() if not name.startswith(OTHERS)}
    settings = load_config(
        Settings, path, prefixes=(EnvironmentPrefix("ADSN_"),), environ=own, secrets=secrets, options=options
    )
    settings.require_safe()
    return settings
