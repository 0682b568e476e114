"""Normals of surfaces with known normals."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adsn.network.normals import SurfaceNormals

SIZE = 112


def angle_deg(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """Return the angle between two fields of unit vectors [3, H, W], in degrees."""
    angle: NDArray[Any] = np.degrees(np.arccos(np.clip((found * expected).sum(0), -1, 1)))
    return angle


def normals_of(depth: NDArray[Any], mm_per_pixel: float) -> NDArray[Any]:
    with torch.no_grad():
        found: NDArray[Any] = SurfaceNormals(mm_per_pixel)(torch.from_numpy(depth.astype(np.float32))[None, None])[
            0
        ].numpy()
    return found


@pytest.mark.parametrize(("slope_x", "slope_y"), [(0.0, 0.0), (0.5, 0.0), (0.0, -0.7), (-1.2, 0.4)])
@pytest.mark.parametrize("pitch", [1.0, 2.0])
def test_tilted_plane(slope_x: float, slope_y: float, pitch: float) -> None:
    y, x = np.mgrid[:SIZE, :SIZE] * pitch
    found = normals_of(600 + slope_x * x + slope_y * y, pitch)[:, 1:-1, 1:-1]
    # Depth grows away from the camera: a surface that recedes to the right faces left.
    expected = np.array([slope_x, slope_y, 1.0]) / math.sqrt(slope_x**2 + slope_y**2 + 1)
    assert angle_deg(found, np.broadcast_to(expected[:, None, None], found.shape)).max() < 1.0


def test_sphere() -> None:
    pitch, radius, distance = 2.0, 90.0, 500.0
    y, x = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) * pitch
    # Within 45 degrees of the middle: further out a pixel spans too much of the curve for a finite difference.
    inside = np.hypot(x, y) < radius * math.sin(math.radians(45))
    height = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    found = normals_of(distance - height, pitch)
    expected = np.stack([x, y, height]) / radius
    assert angle_deg(found, expected)[inside].max() < 1.0


def test_missing_depth_gives_no_normals_and_no_cliffs() -> None:
    depth = np.full((SIZE, SIZE), 500.0)
    depth[40:50, 60:80] = 0
    found = normals_of(depth, 2.0)
    assert (found[:, 39:51, 59:81] == 0).all()
    assert (found[:, [0, -1]] == 0).all()
    assert (found[:, :, [0, -1]] == 0).all()
    elsewhere = found[:, 5:30, 5:100]
    assert np.allclose(elsewhere[2], 1, atol=1e-5)


def test_gradient_reaches_the_depth() -> None:
    depth = torch.full((1, 1, 32, 32), 500.0) + torch.arange(32.0)
    depth.requires_grad_()
    SurfaceNormals()(depth)[:, 0].sum().backward()
    assert depth.grad is not None
    assert torch.isfinite(depth.grad).all()
    assert depth.grad.abs().sum() > 0
