"""Mismatched pairs are made from the people in a set and counted as a separate species."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adsn.datasets.pairs import Sample
from adsn.evaluation.evaluate import PAIR_MISMATCH, Scored, report_json, score_set
from adsn.evaluation.mismatch import MismatchedPairs, mismatches, rates_by_kind, warped, with_mismatches

SIZE = 32


class People:
    """A set with ``moments`` presentations and a print of each person. The grey level of both images is the number of
    the person. ``poses``: whether the set has head poses, which turn by 5° from one moment to the next."""

    name = "people"

    def __init__(self, people: int, moments: int, *, poses: bool = True, frames: int = 1) -> None:
        self.rows = [
            ("bona_fide", who, moment, frame)
            for who in range(people)
            for moment in range(moments)
            for frame in range(frames)
        ] + [("print", who, 0, 0) for who in range(people)]
        self.poses = poses

    def __len__(self) -> int:
        return len(self.rows)

    def species(self) -> list[str]:
        return [row[0] for row in self.rows]

    def digest(self) -> str:
        return "1" * 64

    def __getitem__(self, index: int) -> Sample:
        species, who, moment, _ = self.rows[index]
        rgb = np.full((SIZE, SIZE, 3), 40 + who, np.uint8)
        ir = np.full((SIZE, SIZE, 1), 40 + who, np.uint8)
        ir[: SIZE // 2] += np.uint8(100 + moment)
        conditions = {"yaw_deg": 5.0 * moment, "pitch_deg": 0.0} if self.poses else {}
        label, presentation = int(species == "bona_fide"), f"{species}-{who}-{moment}"
        return Sample({"rgb": rgb, "ir": ir}, label, species, f"s{who}", presentation, "x", conditions)


def same_person(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Score like a model that compares the lower halves of the two images, and so notices only a different person."""
    a = batch["rgb"][:, 28].astype(float).mean((1, 2))
    b = batch["ir"][:, 28].astype(float).mean((1, 2))
    return np.repeat((np.abs(a - b) < 0.5)[:, None], 3, 1).astype(np.float32)


def scored(pairs: People) -> Scored:
    return score_set(same_person, pairs, ("rgb", "ir"))


def test_each_kind_is_what_its_name_says() -> None:
    pairs = People(people=5, moments=4)
    whole = scored(pairs)
    chosen = mismatches(whole)
    by_kind = {kind: [m for m in chosen if m.kind == kind] for kind in ("other_person", "other_moment", "warped")}
    assert len(by_kind["other_person"]) == len(by_kind["warped"]) == 20
    for what in chosen:
        assert whole.species[what.first] == whole.species[what.second] == "bona_fide"
        same = whole.subjects[what.first] == whole.subjects[what.second]
        assert same == (what.kind != "other_person")
        if what.kind == "other_moment":
            a, b = (whole.conditions[i]["yaw_deg"] for i in (what.first, what.second))
            assert 8 <= abs(a - b) <= 15
    # Moments are 5° apart, so for each of the four there is one that is 10° or 15° away.
    assert len(by_kind["other_moment"]) == 20
    assert mismatches(whole) == chosen


def test_without_poses_another_moment_is_another_presentation() -> None:
    whole = scored(People(people=2, moments=2, poses=False, frames=3))
    moments = [m for m in mismatches(whole) if m.kind == "other_moment"]
    assert len(moments) == 4
    assert all(whole.presentations[m.first] != whole.presentations[m.second] for m in moments)


def test_what_a_set_cannot_give_is_not_made_up() -> None:
    assert mismatches(scored(People(people=1, moments=4))) == []
    once = mismatches(scored(People(people=3, moments=1)))
    assert {m.kind for m in once} == {"other_person", "warped"}
    alike = mismatches(scored(People(people=3, moments=2)))
    assert "other_moment" not in {m.kind for m in alike}
    assert len(mismatches(scored(People(people=9, moments=4)), most=5)) == 15


def test_the_second_picture_is_the_others_and_the_first_stays() -> None:
    pairs = People(people=3, moments=4)
    chosen = mismatches(scored(pairs))
    made = MismatchedPairs(pairs, chosen, ("rgb", "ir"))
    for index, what in enumerate(chosen):
        sample = made[index]
        assert (sample.species, sample.label) == (PAIR_MISMATCH, 0)
        assert np.array_equal(sample.crops["rgb"], pairs[what.first].crops["rgb"])
        other = pairs[what.second].crops["ir"]
        assert np.array_equal(sample.crops["ir"], other) == (what.kind != "warped")
    assert len({made[i].presentation for i in range(len(made))}) == len(made)


def test_a_model_that_compares_the_pictures_is_credited_and_one_that_does_not_is_found_out() -> None:
    pairs = People(people=4, moments=4)
    found = with_mismatches(same_person, pairs, scored(pairs), ("rgb", "ir"))
    rates = rates_by_kind(found, 0.5)
    assert (rates["other_person"].errors, rates["other_person"].trials) == (0, 16)
    assert (rates["other_moment"].errors, rates["other_moment"].trials) == (16, 16)
    figures = report_json(found, 0.5)
    total = sum(rate.errors for rate in rates.values())
    assert figures["apcer"][PAIR_MISMATCH]["errors"] == total
    assert figures["apcer"][PAIR_MISMATCH]["trials"] == 48
    assert figures["pairs"] == len(pairs)


def test_mismatched_pairs_do_not_count_in_the_pooled_auc() -> None:
    pairs = People(people=4, moments=4)
    own = scored(pairs)
    found = with_mismatches(same_person, pairs, own, ("rgb", "ir"))
    assert [found.auc(column) for column in range(3)] == [own.auc(column) for column in range(3)]
    assert found.auc_by_species()[PAIR_MISMATCH] != own.auc()
    assert rates_by_kind(own, 0.5) == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_warp_moves_the_picture_and_invents_nothing(dtype: Any) -> None:
    crop = np.zeros((64, 64, 1), dtype)
    crop[:, 40:] = 200
    moved = warped(crop, np.random.default_rng(1))
    assert moved.shape == crop.shape
    assert moved.dtype == crop.dtype
    changed = float((np.abs(moved.astype(float) - crop) > 50).mean())
    assert 0.03 < changed < 0.4
    if dtype == np.float32:
        assert set(np.unique(moved)) == {0, 200}
