"""Pairs of two moments of one person: the choice of partners, and the labels of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from adsn.training.augment import AugmentConfig, augment
from adsn.training.moments import OtherMoments


def row(species: str, subject: str, yaw: float | None) -> dict[str, Any]:
    pose = {} if yaw is None else {"yaw_deg": yaw, "pitch_deg": 0.0, "roll_deg": 0.0}
    return {"species": species, "subject": subject, "conditions": pose}


ROWS = [
    row("bona_fide", "a", 0.0),
    row("bona_fide", "a", 12.0),
    row("bona_fide", "a", 5.0),
    row("bona_fide", "a", -60.0),
    row("bona_fide", "b", 20.0),
    row("bona_fide", "b", None),
    row("print_matte", "a", 25.0),
]


def test_a_partner_is_the_same_person_in_another_pose() -> None:
    moments, rng = OtherMoments(ROWS), np.random.default_rng(1)
    assert [moments.partner(0, rng) for _ in range(5)] == [1] * 5
    assert moments.partner(1, rng) == 0, "5 degrees is 7 away, too near; -60 is too far"
    assert moments.partner(2, rng) is None
    assert moments.partner(4, rng) is None, "alone with a known pose"
    assert moments.partner(5, rng) is None, "the pose is unknown"
    assert moments.partner(6, rng) is None, "attacks stay as they are"


def test_only_changed_places_are_marked() -> None:
    moments = OtherMoments(ROWS)
    indices = np.arange(7)
    new, changed = moments.swapped(indices, 1.0, np.random.default_rng(2))
    assert new.tolist() == [1, 0, 2, 3, 4, 5, 6]
    assert changed.tolist() == [True, True, False, False, False, False, False]
    assert not moments.swapped(indices, 0.0, np.random.default_rng(2))[1].any()


def test_siblings_take_the_place_of_the_next_bona_fide_pair() -> None:
    moments, rng = OtherMoments(ROWS), np.random.default_rng(3)
    indices = np.array([0, 6, 4, 1, 5])
    new = moments.with_siblings(indices, 1.0, rng)
    assert new.tolist() == [0, 6, 1, 1, 5], "4 makes way for the other moment of 0"
    assert indices.tolist() == [0, 6, 4, 1, 5]
    assert moments.with_siblings(indices, 0.0, rng).tolist() == indices.tolist()


def test_images_of_other_people_and_of_other_poses_contradict() -> None:
    moments = OtherMoments(ROWS)
    indices = np.array([0, 1, 2, 4, 5, 6])
    shown = moments.shown(indices, np.zeros(6, bool))
    found = shown.contradicts(shown)
    a0, a12, a5, b20, unknown, attack = range(6)
    assert (found == found.T).all()
    assert not found.diagonal().any()
    assert found[a0, a12]
    assert not found[a0, a5], "5 degrees may be one moment seen by two cameras"
    assert not found[a12, a5]
    assert found[a0, b20]
    assert not found[[unknown, attack]].any()
    # Mirrored, 5 degrees become -5: 17 away from 12.
    mirrored = moments.shown(indices, np.arange(6) == a5)
    assert mirrored.contradicts(mirrored)[a12, a5]
    elsewhere = moments.shown(indices, np.zeros(6, bool), np.array([0, 0, 0, 1, 0, 0]))
    assert not elsewhere.contradicts(elsewhere)[a0, b20], "a difference between two sources is too easy"
    assert shown.contradicts(elsewhere)[a0].tolist() == [False, True, False, False, False, False]


def test_streams_learn_nothing_from_a_swapped_pair() -> None:
    rgb = torch.full((8, 16, 16, 3), 90, dtype=torch.uint8)
    ir = torch.full((8, 16, 16, 1), 90, dtype=torch.uint8)
    swapped = torch.tensor([True] * 4 + [False] * 4)
    off = AugmentConfig(drop=0, dark=0, gain=0, noise=0, blur=0, tint=0, erase=0, copy_grey=0, mismatch=0.5)
    _, _, label, weight, matches, _ = augment(
        rgb, ir, (~swapped).long(), ("rgb", "ir"), off, torch.Generator().manual_seed(3), None, swapped
    )
    assert label[:4].tolist() == [0] * 4
    assert matches.tolist() == label.tolist()
    assert (weight[:4] == 0).all()
    assert (weight[4:].sum(1) == 2 * label[4:]).all(), "only mismatched pairs are masked beside them"
