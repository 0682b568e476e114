"""Address of a service, and the headers of all requests to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from adsn.client.requests import PreparedRequest
from runtime import __version__
from runtime.core.errors import ConfigError
from runtime.core.hosts import is_loopback


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a service, without a trailing slash, and the headers of all requests."""

    url: str
    headers: Mapping[str, str]

    def url_of(self, request: PreparedRequest) -> str:
        """Return the URL of a request."""
        return self.url + request.path

    def headers_of(self, request: PreparedRequest) -> dict[str, str]:
        """Return the headers of a request."""
        return {**self.headers, **request.headers}


def endpoint(url: str, api_key: str | None, *, plaintext: bool) -> Endpoint:
    """Return the endpoint at ``url``. ``plaintext``: whether ``http://`` to other machines is allowed.

    Raises:
        ConfigError: The address or the key cannot be used.
    """
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        _ = parts.port
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"{url}: {error}. A service's address is http://HOST:PORT or https://HOST:PORT.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{url}: a service's address is http://HOST:PORT or https://HOST:PORT.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the service's address contains a user name or a password. Pass api_key instead.")
    if parts.scheme == "http" and not plaintext and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{url}: faces would cross the network unencrypted, and anyone on it could answer. Use https, or pass "
            "plaintext=True if another layer encrypts."
        )
    headers = {"User-Agent": f"adsn-client/{__version__}", "Accept-Encoding": "identity"}
    if api_key is not None:
        if not (api_key and api_key.isascii() and api_key.isprintable()):
            raise ConfigError("api_key: empty, or with characters that no key has.")
        headers["Authorization"] = f"Bearer {api_key}"
    return Endpoint(url.rstrip("/"), headers)
