"""Validation of host names and addresses in settings, so that invalid ones are refused at start-up."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
LONGEST = 253


def require_host(text: str) -> str:
    """Return ``text`` if it is a host name or IP address and nothing else.

    Raises:
        ValueError: ``text`` contains a scheme, a port, a path or a user name, or is not a valid name.
    """
    if "://" in text or "/" in text or "@" in text:
        # The message does not repeat ``text``, because a part before an @ may be a password.
        raise ValueError(f"give only the host, without scheme, user, port or path{_suggestion(text)}.")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        pass
    else:
        return text
    if re.fullmatch(r"[^:]+:\d*", text):
        raise ValueError(f"give only the host, without the port{_suggestion(text)}; {text!r} has both.")
    labels = text.removesuffix(".").split(".")
    if len(text) > LONGEST or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is not a host name or an IP address. Write international names in punycode.")
    if labels[-1].isdigit():
        raise ValueError(f"{text!r} is not an IP address: it must be four numbers up to 255, joined by dots.")
    return text


def _suggestion(text: str) -> str:
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        host = None
    return f": {host}" if host and host != text else ""


HostName = Annotated[str, AfterValidator(require_host)]
"""Type of settings that are a host name or an IP address."""
