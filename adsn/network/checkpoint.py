"""Weights on disk: one safetensors file whose metadata says what network it belongs to. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from adsn.network.model import ADSN, NetworkConfig
from runtime.core.files import write_atomically
from runtime.imaging.crop import CropRule

FORMAT = "adsn-checkpoint-1"


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged, or of another network."""


def save_checkpoint(path: Path, network: ADSN, extra: dict[str, Any] | None = None) -> None:
    """Write ``network`` with its configuration and, under ``training``, what is known of how it came about."""
    metadata = {
        "format": FORMAT,
        "network": json.dumps(network.config.to_json()),
        "training": json.dumps(extra or {}),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(path, save(tensors, metadata))


def read_metadata(path: Path) -> dict[str, Any]:
    """The checkpoint's ``network`` and ``training`` entries.

    Raises:
        CheckpointError: missing, damaged, or no checkpoint of this project.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint. Train one with adsn-train, or name an existing file.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}).") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of this project (format {FORMAT}).")
    return {"network": json.loads(metadata["network"]), "training": json.loads(metadata["training"])}


def crop_rule(config: NetworkConfig, training: Mapping[str, Any]) -> CropRule:
    """Return how the crops were cut that a network was trained on; ``training``: what its checkpoint says of it."""
    recipe = training.get("recipe", {})
    return CropRule(size=config.size, margin=recipe.get("crop", {}).get("margin", CropRule().margin))


def load_checkpoint(path: Path) -> tuple[ADSN, dict[str, Any]]:
    """The network in evaluation mode, and what is known of its training.

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit the configuration stored with them.
    """
    metadata = read_metadata(path)
    network = ADSN(NetworkConfig.from_json(metadata["network"]))
    tensors: dict[str, Tensor] = load(path.read_bytes())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the network named in the file: {error}") from error
    return network.eval(), metadata["training"]
