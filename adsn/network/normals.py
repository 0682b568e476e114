"""Surface normals from a depth crop, inside the graph: differentiable, exportable, masked where depth is missing.

A face has relief; a print or a screen has none, and a bent print curves in one direction only. Normals show this at
every pixel and distance, whereas absolute depth mostly shows how far away the subject is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MM_PER_PIXEL = 2.0
"""Default pixel pitch on the face. A crop of 112 pixels around a head spans roughly 220 mm, whatever the
distance, because the crop follows the face box."""


class SurfaceNormals(nn.Module):
    """Depth in millimetres → unit normals, zero where any depth in the 3×3 neighbourhood is missing.

    The surface is z(x, y) under parallel projection with a fixed pitch, so the normal is
    (−∂z/∂x, −∂z/∂y, 1) normalised; +z points to the camera, x right, y down. As depth grows *away* from the
    camera, z = −depth. Derivatives are Sobel's (central difference, smoothed across), which costs one fixed
    convolution and keeps half of the sensor's noise out.
    """

    kernel: Tensor

    def __init__(self, mm_per_pixel: float = MM_PER_PIXEL) -> None:
        super().__init__()
        sobel_x = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / (8.0 * mm_per_pixel)
        kernel = torch.stack([sobel_x, sobel_x.T]).unsqueeze(1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, depth: Tensor) -> Tensor:
        """``depth`` float32 [N, 1, S, S] in mm, 0 = missing → normals float32 [N, 3, S, S]."""
        missing = 1.0 - (depth * 1e6).clamp(0.0, 1.0)
        # The border counts as missing depth, so that padding makes no cliff.
        holes = F.max_pool2d(F.pad(missing, (1, 1, 1, 1), value=1.0), kernel_size=3, stride=1)
        gradient = F.conv2d(depth, self.kernel, padding=1)
        # Not F.normalize: it exports Shape and Expand nodes that older parsers mishandle.
        # At a hole's edge the gradient spans the hole (hundreds of mm); it is masked below, but clamped
        # first so that its square stays finite in half precision.
        gradient = gradient.clamp(-100.0, 100.0)
        inverse = torch.rsqrt((gradient * gradient).sum(1, keepdim=True) + 1.0)
        return torch.cat([gradient * inverse, inverse], dim=1) * (1.0 - holes)
