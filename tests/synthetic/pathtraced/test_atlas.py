"""The atlas: every thing keeps its own texture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from synthetic.arrays import Array
from synthetic.pathtraced.atlas import CELL, WHITEST, WIDTH, Atlas, atlas_of
from synthetic.pathtraced.backend import Band
from synthetic.pathtraced.things import Matter, Thing, plate

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.3, 0.8], [0.01, 0.99], [0.5, 0.5]], np.float32)


def textured(height: int, width: int, seed: int, **changes: Any) -> Thing:
    texture = np.random.default_rng(seed).uniform(0, 0.9, (height, width, 4)).astype(np.float32)
    part = plate((10.0, 10.0), 5, 1)
    return Thing(replace(part, uv=CORNERS), Matter(texture, roughness=0.01 * seed, **changes))


def looked_up(texture: Array, uv: Array) -> Array:
    """Return the values of a texture at coordinates from the top left, interpolated, with its edges wrapped."""
    rows, columns = texture.shape[:2]
    x, y = uv[:, 0] * columns - 0.5, uv[:, 1] * rows - 0.5
    padded = np.pad(texture, ((1, 1), (1, 1), (0, 0)), mode="wrap")
    found = cv2.remap(
        padded, (x + 1).astype(np.float32)[:, None], (y + 1).astype(np.float32)[:, None], cv2.INTER_LINEAR
    )
    return np.asarray(found, np.float32).reshape(len(uv), -1)


def uv_of(atlas: Atlas, things: list[Thing]) -> list[Array]:
    return np.split(atlas.uv, np.cumsum([len(thing.part.uv) for thing in things])[:-1])


@pytest.mark.parametrize("band", ["rgb", "ir"])
def test_a_thing_shows_in_the_atlas_what_it_shows_alone(band: Band) -> None:
    things = [textured(640, 640, 1), textured(2, 2, 2), textured(256, 320, 3), textured(17, 600, 4)]
    things.append(Thing(things[0].part, Matter((0.2, 0.3, 0.4, 0.5), roughness=0.7, metallic=1.0)))
    atlas = atlas_of(things, band)
    channels = slice(0, 3) if band == "rgb" else slice(3, 4)
    assert atlas.opacity is None
    assert atlas.colour.shape == (atlas.colour.shape[0], WIDTH, 3 if band == "rgb" else 1)
    for thing, uv in zip(things, uv_of(atlas, things), strict=True):
        albedo = thing.matter.albedo
        alone = np.full((2, 2, 4), albedo, np.float32) if isinstance(albedo, tuple) else albedo
        from_top = np.stack([CORNERS[:, 0], 1 - CORNERS[:, 1]], 1)
        # OpenCV interpolates in steps of 1/32 pixel.
        assert looked_up(atlas.colour, uv) == pytest.approx(looked_up(alone[:, :, channels], from_top), abs=0.04)
        rows, columns = (uv[:, [1, 0]] * np.array(atlas.colour.shape[:2])).astype(int).T // CELL
        assert atlas.roughness[rows, columns, 0] == pytest.approx(thing.matter.roughness)
        assert atlas.metallic[rows, columns, 0] == pytest.approx(thing.matter.metallic)


def test_opacity_comes_from_a_mask_or_a_share_and_differs_by_band() -> None:
    mask = np.random.default_rng(9).uniform(0, 1, (64, 48)).astype(np.float32)
    masked = textured(32, 32, 1, alpha=mask)
    pane = Thing(masked.part, Matter((0.1,) * 4, opacity=(0.25, 0.75)))
    shares: dict[Band, float] = {"rgb": 0.25, "ir": 0.75}
    for band, share in shares.items():
        things = [masked, pane]
        atlas = atlas_of(things, band)
        assert atlas.opacity is not None
        first, second = uv_of(atlas, things)
        from_top = np.stack([CORNERS[:, 0], 1 - CORNERS[:, 1]], 1)
        assert looked_up(atlas.opacity, first) == pytest.approx(looked_up(mask[:, :, None], from_top), abs=0.04)
        assert looked_up(atlas.opacity, second) == pytest.approx(share)


def test_a_wide_texture_widens_the_atlas_and_white_is_never_complete() -> None:
    wide = Thing(plate((1.0, 1.0)), Matter(np.ones((4, 3 * WIDTH, 4), np.float32)))
    atlas = atlas_of([wide], "rgb")
    assert atlas.colour.shape[1] >= 3 * WIDTH
    assert atlas.colour.shape[1] % CELL == atlas.colour.shape[0] % CELL == 0
    assert float(atlas.colour.max()) == np.float32(WHITEST)
