"""Augmentation imitates a camera, a room or another detector, and never changes the class of a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adsn.training.augment import AugmentConfig, augment, bordered, exposure, mismatched, warped

PAIR = ("rgb", "ir")
OFF = AugmentConfig(drop=0, dark=0, gain=0, noise=0, blur=0, tint=0, erase=0, copy_grey=0)


def crops(n: int = 64, size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(40, 200, (n, size, size, 3), generator=generator, dtype=torch.uint8)
    ir = torch.randint(40, 200, (n, size, size, 1), generator=generator, dtype=torch.uint8)
    return rgb, ir


def test_nothing_happens_when_everything_is_off() -> None:
    rgb, _ = crops(4)
    out = exposure(rgb, OFF, torch.Generator().manual_seed(2), dark=True)
    assert torch.equal(out, rgb)


@pytest.mark.parametrize(
    "change",
    [{"gamma": 2.0}, {"level": 2.0}, {"shading": 0.3}, {"filter": 1.0}, {"coarse": 1.0}],
    ids=lambda c: next(iter(c)),
)
def test_each_change_changes_most_samples_and_keeps_type_and_range(change: dict[str, float]) -> None:
    rgb, _ = crops()
    config = replace(OFF, **change)
    out = exposure(rgb, config, torch.Generator().manual_seed(2), dark=False)
    assert out.dtype == torch.uint8
    assert out.shape == rgb.shape
    changed = (out != rgb).flatten(1).any(1)
    assert changed.float().mean() > 0.9
    assert torch.equal(out, exposure(rgb, config, torch.Generator().manual_seed(2), dark=False))


def test_gamma_reaches_its_factor_both_ways_and_no_further() -> None:
    grey = torch.full((2000, 2, 2, 1), 64, dtype=torch.uint8)
    out = exposure(grey, replace(OFF, gamma=2.0), torch.Generator().manual_seed(3), dark=False).float() / 255
    found = torch.log(out.mean((1, 2, 3))) / torch.log(torch.tensor(64 / 255))
    assert 0.49 < found.min() < 0.55
    assert 1.9 < found.max() < 2.02


def test_filter_keeps_the_mean() -> None:
    flat = torch.full((64, 16, 16, 3), 90, dtype=torch.uint8)
    out = exposure(flat, replace(OFF, filter=1.0), torch.Generator().manual_seed(4), dark=False)
    assert (out.float().mean((1, 2, 3)) - 90).abs().median() < 2


def test_both_crops_are_warped_alike_and_half_are_left_alone() -> None:
    rgb, _ = crops(200)
    same = rgb[..., :1].clone()
    a, b = warped(rgb, same, PAIR, 0.15, 0.15, torch.Generator().manual_seed(5))
    assert a.dtype == b.dtype == torch.uint8
    assert torch.equal(a[..., :1], b)
    moved = (a != rgb).flatten(1).any(1).float().mean()
    assert 0.35 < moved < 0.65


def test_a_turn_is_about_the_middle_and_goes_as_far_as_stated() -> None:
    # A bright bar to the right of the middle; where it ends up tells the angle.
    image = torch.zeros(400, 65, 65, 1, dtype=torch.uint8)
    image[:, 31:34, 52:58] = 200
    a, b = warped(image, image, ("ir", "ir"), 0.0, 0.3, torch.Generator().manual_seed(12))
    assert torch.equal(a, b)
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    light = a[..., 0].float()
    total = light.sum((1, 2))
    at_y, at_x = (light * y).sum((1, 2)) / total, (light * x).sum((1, 2)) / total
    assert (torch.hypot(at_x, at_y) - 22.5).abs().max() < 0.7
    angle = torch.atan2(at_y, at_x)
    assert -0.31 < float(angle.min()) < -0.27
    assert 0.27 < float(angle.max()) < 0.31
    assert 0.4 < float((angle.abs() < 1e-3).float().mean()) < 0.6, "half are left alone"


def test_depth_keeps_its_values_under_a_warp() -> None:
    depth = torch.where(torch.rand(50, 32, 32, 1) < 0.5, 500.0, 900.0)
    ir = torch.zeros(50, 32, 32, 1, dtype=torch.uint8)
    _, out = warped(ir, depth, ("ir", "depth"), 0.15, 0.15, torch.Generator().manual_seed(6))
    assert set(out.flatten().tolist()) <= {0.0, 500.0, 900.0}


def test_a_border_blackens_the_same_side_of_both() -> None:
    rgb, ir = crops(40)
    a, b = bordered(rgb, ir, 1.0, torch.Generator().manual_seed(7))
    assert torch.equal(a[..., :1] == 0, b == 0)
    black = (b == 0).flatten(1).float().mean(1)
    assert (black > 0).all()
    assert black.max() <= 0.25


def test_mismatched_pairs_are_attacks_of_which_neither_half_is_learnt_alone() -> None:
    rgb, ir = crops()
    label = torch.tensor([1, 0] * 32)
    config = replace(OFF, mismatch=0.5)
    _, _, after, weight, matches, _ = augment(rgb, ir, label, PAIR, config, torch.Generator().manual_seed(8))
    changed = after != label
    assert 8 <= int(changed.sum()) <= 24
    # Attacks stay attacks, and are not mixed.
    assert not changed[label == 0].any()
    assert torch.equal(weight == 0, changed[:, None].expand(-1, 2))
    assert torch.equal(matches, torch.where(label == 0, -1, torch.where(changed, 0, 1)))


def test_blank_and_black_images_are_not_compared() -> None:
    rgb, ir = crops(200)
    label = torch.ones(200, dtype=torch.int64)
    config = replace(OFF, drop=0.2, dark=0.3, mismatch=0.2)
    batch = augment(rgb, ir, label, PAIR, config, torch.Generator().manual_seed(11))
    shown = (batch.first.float().mean((1, 2, 3)) > 10) & (batch.second.float().mean((1, 2, 3)) > 10)
    assert 20 < int((~shown).sum()) < 140
    assert torch.equal(batch.comparable, shown & (batch.matches == 1))


def smooth(n: int, size: int = 32) -> Tensor:
    """Return images [N, S, S, 1] without fine detail, like faces, so that warping differs from noise."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(20, 230, (n, 1, 4, 4), generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return fine.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def test_a_mismatched_pair_holds_anothers_a_mirrored_or_a_twisted_ir() -> None:
    ir = smooth(200)
    free = torch.ones(200, dtype=torch.bool)
    out, chosen = mismatched(ir, free.long(), free, 1.0, torch.Generator().manual_seed(9))
    assert chosen.all()
    assert not (out == ir).flatten(1).all(1).any()
    known = ir.flatten(1)
    mirrored = (out == ir.flip(2)).flatten(1).all(1)
    anothers = torch.tensor([bool((o[None] == known).all(1).any()) for o in out.flatten(1)])
    twisted = ~(mirrored | anothers)
    assert 8 <= int(mirrored.sum()) <= 36
    assert 30 <= int(twisted.sum()) <= 72
    # Displaced further than side-by-side cameras would show.
    apart = (out[twisted].float() - ir[twisted].float()).abs().flatten(1).mean(1)
    assert float(apart.min()) > 3
    assert float(out[twisted].float().flatten(1).min(1).values.mean()) > 5, "no black corners give a twist away"


def test_people_are_exchanged_within_a_source() -> None:
    ir = smooth(60)
    source = torch.tensor([0, 1, 2] * 20)
    source[2] = 3
    free = torch.ones(60, dtype=torch.bool)
    out, chosen = mismatched(ir, free.long(), free, 1.0, torch.Generator().manual_seed(9), source)
    assert chosen.nonzero().flatten().tolist() == [i for i in range(60) if i != 2], "who is alone is left out"
    known = ir.flatten(1)
    for i in range(60):
        found = (out[i].flatten()[None] == known).all(1).nonzero().flatten().tolist()
        assert all(source[j] == source[i] for j in found)


def test_one_person_alone_cannot_be_mismatched() -> None:
    _, ir = crops(4)
    label = torch.tensor([1, 0, 0, 0])
    out, chosen = mismatched(ir, label, torch.ones(4, dtype=torch.bool), 1.0, torch.Generator().manual_seed(10))
    assert not chosen.any()
    assert torch.equal(out, ir)
