"""The network and its checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

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

__getattr__ = attach(
    __name__,
    {
        "ADSN": "adsn.network.model",
        "CheckpointError": "adsn.network.checkpoint",
        "NetworkConfig": "adsn.network.model",
        "Outputs": "adsn.network.model",
        "crop_rule": "adsn.network.checkpoint",
        "load_checkpoint": "adsn.network.checkpoint",
        "read_metadata": "adsn.network.checkpoint",
        "save_checkpoint": "adsn.network.checkpoint",
    },
)
