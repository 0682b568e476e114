"""Scoring on another machine."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.engines.remote.connection import Link, RemoteSettings
    from runtime.engines.remote.engine import open_remote

__all__ = [
    "Link",
    "RemoteSettings",
    "open_remote",
]

__getattr__ = lazy_names(
    __name__,
    {
        "connection": ("Link", "RemoteSettings"),
        "engine": ("open_remote",),
    },
)
