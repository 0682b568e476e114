"""Checkpoints: one safetensors file whose metadata describes the network. Nothing is unpickled."""

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
    """A checkpoint is missing, damaged, or of another network."""

    code = "checkpoint_invalid"


def save_checkpoint(path: Path, network: ADSN, extra: dict[str, Any] | None = None) -> None:
    """Write the weights of ``network`` with its configuration and the record of its ``training``."""
    metadata = {
        "format": FORMAT,
        "network": json.dumps(network.config.to_json()),
        "training": json.dumps(extra or {}),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(path, save(tensors, metadata))


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the checkpoint's metadata: ``network`` and ``training``.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of this project.
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
    """Refuse a Git LFS pointer, which a clone holds in place of weights that were not fetched.

    Raises:
        CheckpointError: the file is a pointer, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    if start == LFS_POINTER:
        raise CheckpointError(f"{path}: a Git LFS pointer, not the weights. Fetch them with: git lfs pull")


def crop_rule(config: NetworkConfig, training: Mapping[str, Any]) -> CropRule:
    """Return the crop rule that a network was trained with; ``training`` is the record in its checkpoint."""
    recipe = training.get("recipe", {})
    return CropRule(size=config.size, margin=recipe.get("crop", {}).get("margin", CropRule().margin))


def load_checkpoint(path: Path) -> tuple[ADSN, dict[str, Any]]:
    """Return the network in evaluation mode and the record of its training.

    Raises:
        CheckpointError: the file is missing or damaged, or the weights are not finite or do not fit the stored
            configuration.
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
            f"{path}: NaN or infinite weights in {wrong[0]} and {len(wrong) - 1} more tensors. The training run "
            "diverged; train again with a lower learning rate."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the network named in the file: {error}") from error
    return network.eval(), metadata["training"]
