"""The first layer of each stream: from camera values to values for the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adsn.network.normals import SurfaceNormals


class Brightening(nn.Module):
    """Brighten dark images until their mean is ``level``, but no more than `MOST` times.

    A weak or distant illuminator darkens the whole IR crop and says nothing about the face. Brighter crops do not
    change: how much brighter a crop is than usual helps to tell masks from skin.
    """

    MOST = 4.0

    def __init__(self, level: int, size: int) -> None:
        super().__init__()
        self.level, self.size = level, size

    def forward(self, x: Tensor) -> Tensor:
        """Convert camera values, float32 [N, 1, S, S]. The result is at most 255, as camera values are."""
        # Pooling, not a sum: the sum of a crop overflows where an engine computes in half precision.
        mean = F.avg_pool2d(x, self.size)
        share = (mean * (1.0 / self.level)).clamp(1.0 / self.MOST, 1.0)
        return (x / share).clamp(0.0, 255.0)


class InputLayer(nn.Module):
    """Convert camera values, NHWC, to network values, NCHW.

    RGB and IR: uint8 → (v − 128) / 128. With scale 1/128 and zero point 128, the quantised input is the camera's byte
    itself, so INT8 loses nothing here. With ``ir_level``, dark IR images are brightened first. Depth: float32 mm →
    surface normals. ``size``: edge of the images.
    """

    def __init__(self, modality: str, size: int, ir_level: int) -> None:
        super().__init__()
        self.normals = SurfaceNormals() if modality == "depth" else None
        self.brightening = Brightening(ir_level, size) if modality == "ir" and ir_level else None

    def forward(self, x: Tensor) -> Tensor:
        """Convert uint8 or float32 [N, S, S, C] to float32 [N, C', S, S]."""
        x = x.to(torch.float32).permute(0, 3, 1, 2)
        if self.normals is not None:
            normals: Tensor = self.normals(x)
            return normals
        if self.brightening is not None:
            x = self.brightening(x)
        return (x - 128.0) * (1.0 / 128.0)
