"""Attention maps of engines and networks: overlays and statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.engines.base import Engine
from runtime.imaging.overlay import combined, overlay

if TYPE_CHECKING:
    from adsn.network.model import ADSN

__all__ = ["AttentionFunction", "combined", "engine_attention", "network_attention", "overlay", "weight_on"]

AttentionFunction = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""Function from crops [N, S, S, C] by modality to attention, float32 [N, 2, M, h, w], non-negative."""


def engine_attention(engine: Engine) -> AttentionFunction:
    """Return the attention function of a serving engine."""
    return lambda batch: engine.infer(batch).attention


def network_attention(network: ADSN) -> AttentionFunction:
    """Return the attention function of a PyTorch network."""
    import torch

    @torch.no_grad()
    def attend(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        _, _, attention = network(*(torch.from_numpy(batch[m]) for m in network.config.modalities))
        return np.asarray(attention.numpy(), np.float32)

    return attend


def weight_on(maps: NDArray[np.float32], region: NDArray[Any]) -> float:
    """Return the share of a stream's attention [M, h, w] that lies on ``region``, relative to chance.

    ``region``: [S, S], non-zero inside. 1 is chance, and 2 is twice as much. The result is NaN for an empty region.
    """
    inside = cv2.resize((region > 0).astype(np.float32), maps.shape[:0:-1], interpolation=cv2.INTER_AREA)
    if not inside.any():
        return float("nan")
    return float((combined(maps) * inside).sum() / inside.mean())
