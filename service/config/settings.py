"""Settings of the service, from a TOML file, secrets, ``ADSN_`` environment variables and command-line options."""

from __future__ import annotations

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
from runtime.config.store import StoreSettings
from runtime.core.errors import ConfigError
from runtime.core.hosts import is_loopback
from runtime.core.processors import usable_cores
from runtime.core.tls_files import TlsFile, server_context
from runtime.face.open import FaceSettings
from runtime.liveness.open import default_bundle
from service.config.section import Section
from service.config.trust import AttestationSettings, AuditSettings, AuthSettings, RemoteEngineSettings

HEADER_TEXT = re.compile(r"[!-~]+")
OTHERS = ("ADSN_KIOSK_", "ADSN_FACE_MODEL", "ADSN_ENGINE_CACHE", "ADSN_CONFIG", "ADSN_TEST_")
"""Variables and prefixes of variables that belong to other programs of this project, and the variable with the path of
the settings file."""


class LimitSettings(Section):
    """Limits on requests. What exceeds a limit is refused early, before it costs much."""

    body_bytes: int = Field(
        default=8 << 20, ge=1024, description="Largest request body, in bytes, counted while it arrives."
    )
    part_bytes: int = Field(default=6 << 20, ge=1024, description="Largest single image file in a request, in bytes.")
    pixels: int = Field(default=16_000_000, ge=4096, description="Largest image, in pixels, according to its header.")
    pair_bytes: int = Field(
        default=56 << 20,
        ge=1 << 20,
        description="Most memory for decoding a pair, in bytes, computed from its headers.",
    )
    queue: int = Field(default=16, ge=0, description="Pairs that may wait for a worker; further requests get 503.")
    rate_per_s: float = Field(default=0, ge=0, description="Average pairs per second for each key; 0: no limit.")
    burst: int = Field(default=20, ge=1, description="Pairs that a key may send at once if rate_per_s is set.")
    max_age_ms: float = Field(
        default=10_000,
        gt=0,
        le=86_400_000,
        description="Age at which an uploaded pair with a known clock is stale, in milliseconds.",
    )
    judge_s: float = Field(default=10, gt=0, le=3600, description="Timeout for scoring one pair, in seconds; then 503.")
    replay_s: float = Field(
        default=600, gt=0, le=31_536_000, description="Lifetime of nonces and Idempotency-Keys, in seconds."
    )
    replays: int = Field(
        default=10_000, ge=1, description="Number of nonces kept for one key, and of responses kept for all."
    )
    connections: int = Field(default=256, ge=1, description="Open connections; further ones are refused.")
    per_address: int = Field(
        default=0, ge=0, description="Open connections per address; 0: half of connections. Raise it behind a proxy."
    )
    header_bytes: int = Field(default=16 << 10, ge=1024, description="Largest request line with headers, in bytes.")
    header_s: float = Field(
        default=5, gt=0, le=3600, description="Timeout for reading a request's headers, in seconds."
    )
    body_s: float = Field(default=10, gt=0, le=3600, description="Timeout for reading a request's body, in seconds.")
    idle_s: int = Field(
        default=20, ge=1, le=86_400, description="Time after which an idle connection is closed, in seconds."
    )
    write_s: float = Field(
        default=20,
        gt=0,
        le=3600,
        description="Time after which a client that does not read its response is disconnected, in seconds.",
    )

    @property
    def address_share(self) -> int:
        """Maximum number of open connections per address."""
        return self.per_address or max(1, self.connections // 2)


class LogSettings(Section):
    """The log. It never contains images or keys."""

    format: Literal["console", "json"] = Field(
        default="console", description="Format: for people, or one JSON object per line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest severity that is logged."
    )


class BatchSettings(Section):
    """Batching of pairs that arrive at the same time."""

    pairs: int = Field(default=1, ge=1, le=64, description="Largest batch; 1 scores each pair on its own.")
    wait_ms: float = Field(default=0, ge=0, le=1000, description="Time that a pair waits for others, in milliseconds.")


class TlsSettings(Section):
    """HTTPS. Set both certificate and key, or neither."""

    certificate: Path | None = Field(default=None, description="Certificate chain (PEM).")
    key: Path | None = Field(default=None, description="Private key of the certificate (PEM).")
    client_ca: Path | None = Field(
        default=None, description="CA certificates (PEM) of clients; clients without a certificate cannot connect."
    )

    @model_validator(mode="after")
    def _require_both(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("set both certificate and key, or neither.")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs TLS: set certificate and key too.")
        return self

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context of the service, or None for plain HTTP.

        Raises:
            ConfigError: a file cannot be used. The message says which, why and what to do.
        """
        if self.certificate is None or self.key is None:
            return None
        authorities = TlsFile("tls.client_ca", self.client_ca) if self.client_ca is not None else None
        return server_context(TlsFile("tls.certificate", self.certificate), TlsFile("tls.key", self.key), authorities)


class Settings(Section):
    """Settings of the HTTP service."""

    host: HostName = Field(
        default="127.0.0.1", description="Address to listen on; any but loopback needs keys or client certificates."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")
    bundle: Path = Field(default_factory=default_bundle, description="Model folder.")
    bundle_key: Path | None = Field(
        default=None, description="Ed25519 public key (PEM); if set, only bundles signed by its owner are loaded."
    )
    engine: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu", "remote"] = Field(
        default="auto", description="Engine that runs the model; auto selects the fastest that works on this machine."
    )
    require_engine: bool = Field(
        default=False, description="Fail if the engine does not work, instead of using the next one."
    )
    precision: Literal["int8", "fp32"] = Field(default="int8", description="Precision of the model to run.")
    profile: Literal["throughput", "latency"] = Field(
        default="throughput",
        description="throughput: one worker per core, one thread per pair. latency: one worker that uses all cores for "
        "its pair; for large models or many cores with one request at a time.",
    )
    workers: int = Field(
        default=0, ge=0, le=64, description="Number of pairs scored at the same time; 0: set by the profile."
    )
    batch: BatchSettings = Field(
        default_factory=BatchSettings, description="Batching of pairs that arrive at the same time."
    )
    api_key: SecretStr | None = Field(default=None, description="API key that callers must send.")
    expose_score: bool = Field(default=True, description="Include scores, threshold and explanations in responses.")
    drain_s: float = Field(
        default=5, gt=0, le=60, description="Time for requests in progress when the service stops, in seconds."
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="Limits on requests.")
    log: LogSettings = Field(default_factory=LogSettings, description="The log. It never contains images or keys.")
    tls: TlsSettings = Field(default_factory=TlsSettings, description="HTTPS.")
    auth: AuthSettings = Field(default_factory=AuthSettings, description="API keys and browser sessions.")
    attestation: AttestationSettings = Field(default_factory=AttestationSettings, description="Signed responses.")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The audit log of decisions.")
    store: StoreSettings = Field(
        default_factory=StoreSettings, description="State that replicas share, in Redis or Valkey."
    )
    remote: RemoteEngineSettings = Field(
        default_factory=RemoteEngineSettings, description="The scoring server for engine = remote."
    )
    rig: RigSettings = Field(default_factory=RigSettings, description="Cameras attached to the service.")
    face: FaceSettings = Field(default_factory=FaceSettings, description="Face detection.")

    @property
    def worker_count(self) -> int:
        """Number of pairs scored at the same time."""
        if self.workers:
            return self.workers
        return usable_cores() if self.profile == "throughput" else 1

    def require_safe(self) -> None:
        """Check that other machines cannot use the service without a key; otherwise raise `ConfigError`."""
        if self.api_key is not None and len(self.api_key.get_secret_value()) < 16:
            raise ConfigError("ADSN_API_KEY is shorter than 16 characters. Use a long random key: openssl rand -hex 24")
        if self.api_key is not None and not HEADER_TEXT.fullmatch(self.api_key.get_secret_value()):
            raise ConfigError(
                "ADSN_API_KEY contains characters that an HTTP header cannot carry. Use printable ASCII characters "
                "without blanks or line breaks."
            )
        keyless = self.api_key is None and self.auth.keys is None and self.tls.client_ca is None
        if keyless and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host} without an API key would let anyone on the network request scores. Set "
                "ADSN_AUTH__KEYS or ADSN_API_KEY, require client certificates (ADSN_TLS__CLIENT_CA), or listen on "
                "127.0.0.1."
            )
        if self.engine == "remote" and self.remote.url is None:
            raise ConfigError("engine is remote, but remote.url is not set. Set it to the scoring server's address.")


def read_settings(
    path: Path | None = None,
    *,
    secrets: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings of the service.

    Sources, lowest precedence first: the file at ``path`` (default: ``ADSN_CONFIG``), the folder ``secrets``, the
    environment, and ``options`` (dotted keys). Options that are None are ignored.

    Raises:
        ConfigError: entries are wrong. The message names all of them.
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
