"""Settings from files, secrets, environment variables and options."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.config.loader import Prefix, load_config
    from runtime.config.rig import RigSettings
    from runtime.config.template import config_text

__all__ = [
    "Prefix",
    "RigSettings",
    "config_text",
    "load_config",
]

__getattr__ = lazy_names(
    __name__,
    {
        "loader": ("Prefix", "load_config"),
        "rig": ("RigSettings",),
        "template": ("config_text",),
    },
)
