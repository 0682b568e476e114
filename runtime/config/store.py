"""Address and connection settings of the store that replicas of the service share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from runtime.config.host_name import require_host
from runtime.core.errors import ConfigError
from runtime.core.hosts import is_loopback
from runtime.core.tls_files import TlsFile, client_context

PORT = 6379
DATABASE = re.compile(r"/?|/[0-9]{1,5}")
MAX_TIMEOUT_MS = 50


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Address of a store. ``database``: number of the database, as for SELECT. ``tls``: whether the connection is
    encrypted."""

    host: str
    port: int
    database: int
    tls: bool

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{shown}:{self.port}"


class StoreSettings(BaseModel):
    """State that replicas share, in Redis or Valkey. Without ``url`` each process keeps its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    url: str | None = Field(
        default=None,
        description="rediss://HOST:PORT/DATABASE, or redis:// without TLS. Unset: replicas share no state.",
    )
    username: str = Field(default="", max_length=128, description="User name for the store; empty: the default user.")
    password: SecretStr | None = Field(
        default=None, description="Password for the store; best set as the secret store.password."
    )
    ca: Path | None = Field(
        default=None, description="CA certificates (PEM) to verify the store; default: the system's."
    )
    certificate: Path | None = Field(default=None, description="Client certificate (PEM), if the store requires one.")
    certificate_key: Path | None = Field(default=None, description="Private key of the certificate (PEM).")
    prefix: str = Field(
        default="adsn:",
        pattern=r"^[A-Za-z0-9:._{}-]{1,64}$",
        description="Prefix of every key in the store. Replicas with the same prefix share their state.",
    )
    timeout_ms: float = Field(
        default=MAX_TIMEOUT_MS,
        gt=0,
        le=MAX_TIMEOUT_MS,
        description="Timeout for the store in one request, in milliseconds; then it counts as unavailable.",
    )
    plaintext: bool = Field(default=False, description="Allow redis:// to other machines; another layer must encrypt.")

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str | None) -> str | None:
        if url is not None:
            _parse(url)
        return url

    @model_validator(mode="after")
    def _consistent(self) -> StoreSettings:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("set both certificate and certificate_key, or neither.")
        if self.url is None:
            return self
        address = _parse(self.url)
        if not address.tls and not is_loopback(address.host) and not self.plaintext:
            raise ValueError(
                f"redis:// to {address} would cross the network unencrypted, and anyone on it could answer. Use "
                "rediss://, or set store.plaintext if another layer encrypts."
            )
        if not address.tls and (self.ca is not None or self.certificate is not None):
            raise ValueError("certificates need rediss://. Change the address, or remove them.")
        return self

    @property
    def address(self) -> StoreAddress | None:
        """Return the address of the store, or None if no store is configured."""
        return _parse(self.url) if self.url is not None else None

    def check_files(self) -> None:
        """Check the files that TLS needs.

        Raises:
            ConfigError: a file cannot be used. The message says which, why and what to do.
        """
        if self.address is None or not self.address.tls:
            return
        client_context(
            TlsFile("store.ca", self.ca) if self.ca is not None else None,
            TlsFile("store.certificate", self.certificate) if self.certificate is not None else None,
            TlsFile("store.certificate_key", self.certificate_key) if self.certificate_key is not None else None,
        )


def connection_options(settings: StoreSettings) -> dict[str, Any]:
    """Return constructor arguments for the redis-py clients, both asyncio and synchronous. The caller adds timeouts.

    Raises:
        ConfigError: no address is configured.
    """
    address = settings.address
    if address is None:
        raise ConfigError("store.url is not set.")
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": settings.username or None,
        "password": settings.password.get_secret_value() if settings.password is not None else None,
        # Every version of Redis and Valkey supports RESP2, and nothing here needs more.
        "protocol": 2,
    }
    if address.tls:
        options |= {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": str(settings.ca) if settings.ca is not None else None,
            "ssl_certfile": str(settings.certificate) if settings.certificate is not None else None,
            "ssl_keyfile": str(settings.certificate_key) if settings.certificate_key is not None else None,
        }
    return options


def _parse(url: str) -> StoreAddress:
    """Parse ``url``. Error messages do not repeat text that may contain a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the address has an invalid port; write rediss://HOST:PORT/DATABASE.") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "the address contains a user or a password. Set store.username, and set the password as the secret "
            "store.password."
        )
    if parts.scheme not in ("redis", "rediss") or not host or _more(parts) or not DATABASE.fullmatch(parts.path):
        raise ValueError(
            "the address must be rediss://HOST:PORT/DATABASE or redis://HOST:PORT/DATABASE and nothing more."
        )
    return StoreAddress(require_host(host), port or PORT, int(parts.path.strip("/") or 0), parts.scheme == "rediss")


def _more(parts: SplitResult) -> bool:
    return bool(parts.query or parts.fragment)
