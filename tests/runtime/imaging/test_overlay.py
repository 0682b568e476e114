"""Attention drawn over crops."""

from __future__ import annotations

import numpy as np

from runtime.imaging.overlay import combined, grey_picture, overlay


def test_it_is_warm_where_the_network_looked() -> None:
    maps = np.zeros((2, 14, 14), np.float32)
    maps[:, 3, 3] = 1
    picture = np.full((112, 112, 3), 100, np.uint8)
    drawn = overlay(picture, maps)
    assert drawn.shape == (112, 112, 3)
    assert drawn.dtype == np.uint8
    here, elsewhere = drawn[28, 28].astype(int), drawn[90, 90].astype(int)
    assert here[0] > elsewhere[0] + 50  # red


def test_attention_that_is_even_or_below_the_average_is_not_drawn() -> None:
    picture = np.arange(112 * 112 * 3, dtype=np.uint32).reshape(112, 112, 3).astype(np.uint8)
    np.testing.assert_array_equal(overlay(picture, np.ones((2, 14, 14), np.float32)), picture)
    maps = np.ones((1, 14, 14), np.float32)
    maps[:, :4, :4] = 9
    drawn = overlay(picture, maps)
    np.testing.assert_array_equal(drawn[64:, 64:], picture[64:, 64:])
    assert (drawn[8, 8] != picture[8, 8]).any()


def test_weak_attention_is_drawn_faintly() -> None:
    picture = np.full((112, 112, 3), 100, np.uint8)

    def strength(weight: float) -> int:
        maps = np.ones((1, 14, 14), np.float32)
        maps[:, :2, :2] = weight
        return int(np.abs(overlay(picture, maps).astype(int) - 100).max())

    assert 0 < strength(1.3) < strength(2) < strength(8)


def test_each_map_counts_alike_and_an_empty_one_is_even() -> None:
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0] = 1000
    found = combined(maps)
    assert found.sum() == np.float32(1)
    np.testing.assert_allclose(found, [[0.625, 0.125], [0.125, 0.125]])


def test_a_shuffled_map_shows_no_grid_of_dots() -> None:
    """A map that always uses the same place of the four in a block, with equal values, is uniform."""
    maps = np.zeros((1, 14, 14), np.float32)
    maps[:, ::2, 1::2] = 1
    drawn = overlay(np.full((112, 112, 3), 100, np.uint8), maps)
    assert np.ptp(drawn[:, :, 0]) <= 2
    maps[:, 2:6, 2:6] *= 5
    warm = overlay(np.full((112, 112, 3), 100, np.uint8), maps).astype(int)
    assert warm[32, 32, 0] > warm[90, 90, 0] + 50


def test_depth_becomes_grey_nearest_bright_and_missing_black() -> None:
    depth = np.full((8, 8, 1), 600, np.float32)
    depth[0, 0], depth[4:] = 0, 640
    shown = grey_picture(depth)
    assert shown[0, 0, 0] == 0
    assert shown[1, 1, 0] > shown[5, 5, 0] > 0
    assert overlay(depth, np.ones((1, 2, 2), np.float32)).shape == (8, 8, 3)
