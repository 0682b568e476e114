"""Static files of the web pages, and their hashes for a Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources


def asset(name: str) -> str:
    """Return the text of a file in ``static``."""
    return resources.files("service.console").joinpath("static", name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Return the hash of a script or style for a Content-Security-Policy, which allows exactly these bytes to run."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
