"""The network and its checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from adsn.network.checkpoint import CheckpointError, crop_rule, load_checkpoint, read_metadata, save_checkpoint
    from adsn.network.model import ADSN, NetworkConfig, Outputs

__all__ = [
    "ADSN",
    "CheckpointError",
    "NetworkConfig",
    "Outputs",
    "crop_rule",
    "load_checkpoint",
    "read_metadata",
    "save_checkpoint",
]

__getattr__ = lazy_names(
    __name__,
    {
        "checkpoint": (
            "CheckpointError",
            "crop_rule",
            "load_checkpoint",
            "read_metadata",
            "save_checkpoint",
        ),
        "model": (
            "ADSN",
            "NetworkConfig",
            "Outputs",
        ),
    },
)
