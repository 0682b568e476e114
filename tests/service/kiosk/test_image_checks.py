"""Detection of repeated and of uniform frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runtime.core.values import Pair
from service.kiosk.image_checks import FLAT_NS, REPEATS, FrozenImageWatch

RNG = np.random.default_rng(1)


def noisy(level: int = 100, spread: int = 40) -> Pair:
    image = (level + RNG.integers(-spread, spread + 1, (120, 160, 3))).clip(0, 255).astype(np.uint8)
    return Pair(rgb=image, ir=image[..., :1].copy())


def test_a_camera_that_repeats_itself_is_frozen_and_noise_is_not() -> None:
    watch = FrozenImageWatch()
    for _ in range(20):
        assert watch.repeated(noisy()) == ()
        assert watch.conditions(noisy(), 0) == {}
    stuck = noisy().ir
    watch.repeated(replace(noisy(), ir=stuck))
    for number in range(REPEATS):
        assert not watch.conditions(noisy(), 0)
        # The buffer may be another one with the same content.
        assert stuck is not None
        assert watch.repeated(replace(noisy(), ir=stuck.copy())) == ("ir",), number
    assert set(watch.conditions(noisy(), 0)) == {("camera_frozen", "ir")}
    assert watch.repeated(noisy()) == ()
    assert watch.conditions(noisy(), 0) == {}


def test_a_buffer_that_is_used_again_is_not_taken_for_its_own_past() -> None:
    watch = FrozenImageWatch()
    pair, later = noisy(), noisy()
    assert pair.rgb is not None
    assert later.rgb is not None
    watch.repeated(pair)
    pair.rgb[:] = later.rgb
    assert "rgb" not in watch.repeated(pair)


def test_a_new_epoch_begins_anew() -> None:
    watch = FrozenImageWatch()
    pair = noisy()
    watch.repeated(pair)
    assert watch.repeated(pair) == ("rgb", "ir")
    assert watch.repeated(replace(pair, generation=1)) == ()


def test_black_in_the_dark_is_no_frozen_camera() -> None:
    watch = FrozenImageWatch()
    dark = np.zeros((120, 160, 3), np.uint8)
    for _ in range(20):
        assert watch.repeated(replace(noisy(), rgb=dark)) == ()


def test_infrared_without_anything_in_it_is_covered_after_a_second() -> None:
    watch = FrozenImageWatch()
    for level in (0, 144, 255):
        covered = replace(noisy(), ir=np.full((120, 160, 1), level, np.uint8))
        assert watch.conditions(covered, 10) == {}
        assert watch.conditions(covered, 10 + FLAT_NS - 1) == {}
        assert set(watch.conditions(covered, 10 + FLAT_NS)) == {("camera_covered", "ir")}
        assert watch.conditions(noisy(spread=10), 20 + FLAT_NS) == {}
