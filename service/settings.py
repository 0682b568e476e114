"""What an operator may set: ``ADSN_`` environment variables and command-line options."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.assemble import default_bundle
from runtime.errors import ConfigError


class Settings(BaseSettings):
    """Settings of the HTTP service."""

    model_config = SettingsConfigDict(env_prefix="ADSN_", extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on. Any but loopback needs an API key.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    bundle: Path = Field(default_factory=default_bundle, description="Model folder.")
    bundle_key: Path | None = Field(
        default=None, description="Ed25519 public key (PEM); with it, only a bundle signed by its owner is loaded."
    )
    engine: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu"] = Field(
        default="auto", description="What runs the model; auto: the fastest that works here."
    )
    require_engine: bool = Field(default=False, description="Fail when that engine does not work, instead of the next.")
    precision: Literal["int8", "fp32"] = Field(default="int8", description="Which of the bundle's models to run.")
    api_key: SecretStr | None = Field(default=None, description="Key that callers must present.")
    expose_score: bool = Field(default=True, description="False hides scores and threshold from answers.")
    max_body_bytes: int = Field(default=8 << 20, ge=1024, description="Largest request body.")
    max_pixels: int = Field(default=16_000_000, ge=4096, description="Largest picture, from its header.")
    workers: int = Field(default=1, ge=1, le=64, description="Pairs scored at the same time.")
    queue: int = Field(default=16, ge=0, description="Pairs that may wait for a worker.")

    def require_safe(self) -> None:
        """Raise `ConfigError` when the service would be open to others without a key."""
        if self.api_key is not None and len(self.api_key.get_secret_value()) < 16:
            raise ConfigError("ADSN_API_KEY is shorter than 16 characters. Use a long random one: openssl rand -hex 24")
        if self.api_key is None and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host} without an API key would let anyone on the network ask for scores. Set "
                "ADSN_API_KEY, or listen on 127.0.0.1."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; names other than localhost count as reachable by others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment, with ``overrides`` that are not None on top.

    Raises:
        ConfigError: names every wrong entry.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]  # pydantic checks them, which is the point
    except ValidationError as error:
        lines = [f"  ADSN_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigError("these settings are wrong:\n" + "\n".join(lines)) from error
    settings.require_safe()
    return settings
