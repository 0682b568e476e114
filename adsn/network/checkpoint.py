"""Weights on disk: one safetensors file whose metadata says what network it belongs to. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from adsn.network.model import ADSN, NetworkConfig
from runtime.core.errors import AdsnError
from runtime.core.files import write_atomically
from runtime.imaging.crop import CropRule

FORMAT = "adsn-checkpoint-1"


LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class CheckpointError(AdsnError):
    """A checkpoint that is missing, damaged, or of another network."""

    code = "checkpoint_invalid"


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
    require_weights(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}).") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of this project (format {FORMAT}).")
    try:
        return {"network": json.loads(metadata["network"]), "training": json.loads(metadata["training"])}
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: its metadata cannot be read ({error}). Train it again.") from error


def require_weights(path: Path) -> None:
    """Refuse a pointer of Git LFS, which stands in a clone for weights that were not fetched.

    Raises:
        CheckpointError: it is one, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    if start == LFS_POINTER:
        raise CheckpointError(f"{path}: a pointer of Git LFS, not the weights themselves. Fetch them: git lfs pull")


def crop_rule(config: NetworkConfig, training: Mapping[str, Any]) -> CropRule:
    """Return how the crops were cut that a network was trained on; ``training``: what its checkpoint says of it."""
    recipe = training.get("recipe", {})
    return CropRule(size=config.size, margin=recipe.get("crop", {}).get("margin", CropRule().margin))


def load_checkpoint(path: Path) -> tuple[ADSN, dict[str, Any]]:
    """The network in evaluation mode, and what is known of its training.

    Raises:
        CheckpointError: missing, damaged, weights that are not finite, or that do not fit the configuration stored
            with them.
    """
    metadata = read_metadata(path)
    try:
        network = ADSN(NetworkConfig.from_json(metadata["network"]))
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: a damaged checkpoint ({error}).") from error
    wrong = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if wrong:
        raise CheckpointError(
            f"{path}: weights that are NaN or infinite, {wrong[0]} and {len(wrong) - 1} more tensors. The training run "
            "diverged; train again with a lower learning rate."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the network named in the file: {error}") from error
    return network.eval(), metadata["training"]
