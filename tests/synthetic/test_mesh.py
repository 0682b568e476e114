"""The rasteriser's z-buffer on shapes with known images."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic.mesh import Mesh, Topology, rasterise, scatter


def sphere(radius: float, rings: int = 40) -> Mesh:
    """Return a sphere of ``radius`` mm about the origin, poles up and down."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    points = np.stack([np.sin(t) * np.sin(p), -np.cos(t), np.sin(t) * np.cos(p)], 2).reshape(-1, 3)
    points = np.concatenate([points, [[0, -1, 0], [0, 1, 0]]])
    n, top, bottom = 2 * rings, len(points) - 2, len(points) - 1
    faces = []
    for j in range(n):
        k = (j + 1) % n
        faces += [(top, k, j), (bottom, (rings - 2) * n + j, (rings - 2) * n + k)]
        for i in range(rings - 2):
            a, b, c, d = i * n + j, i * n + k, (i + 1) * n + j, (i + 1) * n + k
            faces += [(a, b, c), (b, d, c)]
    vertices = (points * radius).astype(np.float32)
    return Mesh(vertices, Topology(np.array(faces, np.int64), vertices[:, :2]))


def test_normals_of_a_sphere_point_outwards() -> None:
    ball = sphere(50)
    normals = ball.topology.normals(ball.vertices)
    cosine = (normals * ball.vertices / 50).sum(1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1.0


def test_averaging_pulls_in_a_spike_and_keeps_a_flat_grid() -> None:
    size = 9
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    flat = np.stack([x, y, np.zeros_like(x)], 2).reshape(-1, 3).astype(np.float32)
    cells = [r * size + c for r in range(size - 1) for c in range(size - 1)]
    faces = [f for i in cells for f in ((i, i + 1, i + size), (i + 1, i + size + 1, i + size))]
    grid = Topology(np.array(faces, np.int64), flat[:, :2])
    assert grid.averaged(flat)[:, 2] == pytest.approx(0)
    spike = flat.copy()
    spike[40, 2] = 9
    averaged = grid.averaged(spike)[:, 2]
    assert averaged[40] == pytest.approx(3)
    assert averaged.max() == averaged[40]


def test_depth_of_a_rasterised_sphere() -> None:
    ball = sphere(30)
    points = ball.vertices + np.array([40, 40, 0], np.float32)
    fragments = rasterise(points, ball.topology.triangles, 80, 80)
    z = scatter(fragments, fragments.interpolate(ball.vertices[:, 2:]), 80, 80)[:, :, 0]
    y, x = np.mgrid[:80, :80] - 40.0
    inside = np.hypot(x, y) < 27
    assert z[inside] == pytest.approx(np.sqrt(np.clip(900 - np.square(x) - np.square(y), 0, None))[inside], abs=0.35)
    # Nothing outside, and no hole inside.
    covered = np.zeros(80 * 80, bool)
    covered[fragments.pixel] = True
    assert covered.reshape(80, 80)[np.hypot(x, y) < 29.5].all()
    assert not covered.reshape(80, 80)[np.hypot(x, y) > 30.5].any()


def test_the_nearer_triangle_is_seen_whatever_the_order() -> None:
    near = np.array([[0, 0, 9], [20, 0, 9], [0, 20, 9]], np.float32)
    far = np.array([[0, 0, 1], [20, 0, 1], [0, 20, 1]], np.float32)
    for points, expected in ((np.concatenate([near, far]), 0), (np.concatenate([far, near]), 3)):
        fragments = rasterise(points, np.array([[0, 1, 2], [3, 4, 5]]), 20, 20)
        assert (fragments.corners[:, 0] == expected).all()
        assert len(fragments.pixel) > 150


def test_a_triangle_that_faces_away_is_not_seen() -> None:
    points = np.array([[0, 0, 1], [20, 0, 1], [0, 20, 1]], np.float32)
    assert len(rasterise(points, np.array([[0, 2, 1]]), 20, 20).pixel) == 0
    assert len(rasterise(points - 100, np.array([[0, 1, 2]]), 20, 20).pixel) == 0


def test_weights_add_up_and_find_the_place() -> None:
    points = np.array([[1, 1, 0], [17, 3, 4], [5, 16, 8]], np.float32)
    fragments = rasterise(points, np.array([[0, 1, 2]]), 20, 20)
    assert fragments.weights.sum(1) == pytest.approx(1, abs=1e-5)
    places = fragments.interpolate(points)[:, :2]
    assert places == pytest.approx(np.stack([fragments.pixel % 20, fragments.pixel // 20], 1), abs=1e-3)


def test_a_vertex_without_a_triangle_is_refused() -> None:
    lonely = Topology(np.array([[0, 1, 2]], np.int64), np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="belong to a triangle"):
        lonely.normals(np.zeros((4, 3), np.float32))
