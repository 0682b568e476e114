"""Engine that has pairs scored on another machine."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.engines.remote.connection import RemoteConnection, RemoteSettings
    from runtime.engines.remote.engine import open_remote

__all__ = [
    "RemoteConnection",
    "RemoteSettings",
    "open_remote",
]

__getattr__ = attach(
    __name__,
    {
        "RemoteConnection": "runtime.engines.remote.connection",
        "RemoteSettings": "runtime.engines.remote.connection",
        "open_remote": "runtime.engines.remote.engine",
    },
)
