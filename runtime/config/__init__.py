"""Settings from files, secrets, environment variables and command-line options."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.config.loader import EnvironmentPrefix, load_config
    from runtime.config.rig import RigSettings
    from runtime.config.store import StoreSettings
    from runtime.config.template import config_text

__all__ = [
    "EnvironmentPrefix",
    "RigSettings",
    "StoreSettings",
    "config_text",
    "load_config",
]

__getattr__ = attach(
    __name__,
    {
        "EnvironmentPrefix": "runtime.config.loader",
        "RigSettings": "runtime.config.rig",
        "StoreSettings": "runtime.config.store",
        "config_text": "runtime.config.template",
        "load_config": "runtime.config.loader",
    },
)
