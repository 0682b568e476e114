"""Curves follow the changes of the images. The models here are so simple that the results are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adsn.datasets.pairs import Patch, Sample
from adsn.evaluation.evaluate import Scored, Scorer, score_set
from adsn.evaluation.perturb import sweeps, windowed
from adsn.evaluation.robustness import GIVEN, RobustnessTest, drawn
from adsn.evaluation.robustness_curves import Curve, Robustness, no_face, robustness_json
from adsn.evaluation.robustness_page import robustness_part, sample_words, worst_words
from adsn.evaluation.verdict import Limits
from runtime.core.values import Box, Image
from runtime.face.detector import Face
from runtime.imaging.crop import CropRule

RULE = CropRule(size=64, margin=0.5)
BOX, IR_BOX = Box(80, 60, 40, 40), Box(70, 64, 40, 40)


class Drawn:
    """A set whose faces are squares of a known grey on a darker background. In IR, bona fide faces are brighter than
    attacks.

    ``pictures``: whether the set has full images.
    """

    name = "drawn"

    def __init__(self, *, pictures: bool = True, count: int = 6) -> None:
        self.kinds = ["bona_fide"] * count + ["print"] * count + ["mask"] * count
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.kinds)

    def species(self) -> list[str]:
        return self.kinds

    def digest(self) -> str:
        return "0" * 64

    def whole(self, index: int) -> Patch:
        rgb, ir = np.full((180, 200, 3), 40, np.uint8), np.full((180, 200, 1), 20, np.uint8)
        rgb[60:100, 80:120] = (150, 120, 100)
        ir[64:104, 70:110] = 120 if self.kinds[index] == "bona_fide" else 50
        # A bright mark on the right edge of the face shows its orientation.
        ir[64:104, 104:110] = 180
        return Patch({"rgb": rgb, "ir": ir}, {"rgb": BOX, "ir": IR_BOX})

    def patch(self, index: int) -> Patch | None:
        return self.whole(index) if self.pictures else None

    def __getitem__(self, index: int) -> Sample:
        kind = self.kinds[index]
        crops = self.whole(index).crops(RULE)
        return Sample(crops, int(kind == "bona_fide"), kind, f"s{index}", f"p{index}", "x", {})


def scorer_of(measure: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Scorer:
    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        value = measure(batch["rgb"].astype(np.float64), batch["ir"].astype(np.float64))
        return np.repeat(np.clip(value, 0, 1)[:, None], 3, 1).astype(np.float32)

    return score


def ir_face(rgb: NDArray[Any], ir: NDArray[Any]) -> NDArray[Any]:
    """Score the brightness of the middle of the IR crop."""
    return np.asarray(ir[:, 24:40, 24:40].mean((1, 2, 3)) / 255)


def rgb_mean(rgb: NDArray[Any], ir: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(rgb.mean((1, 2, 3)) / 255)


def roughness(rgb: NDArray[Any], ir: NDArray[Any]) -> NDArray[Any]:
    """Score the differences between neighbouring pixels of the IR crop."""
    return np.asarray(np.square(np.diff(ir, axis=2)).mean((1, 2, 3)) / 2000)


def balance(rgb: NDArray[Any], ir: NDArray[Any]) -> NDArray[Any]:
    """Score whether the IR crop's right half is brighter than its left; 0.5 if they are equal."""
    return np.asarray(0.5 + (ir[:, :, 32:].mean((1, 2, 3)) - ir[:, :, :32].mean((1, 2, 3))) / 100)


def above(rgb: NDArray[Any], ir: NDArray[Any]) -> NDArray[Any]:
    """Score whether the bright mark on the right of the IR crop is above its middle; 0.5 if it is centred."""
    mark = ir[:, :, 40:] > 150
    return np.asarray(0.5 + mark[:, :32].mean((1, 2, 3)) - mark[:, 32:].mean((1, 2, 3)))


def ask(
    measure: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
    threshold: float = 0.33,
    detectors: Mapping[str, Any] | None = None,
    *,
    pictures: bool = True,
) -> Robustness:
    pairs, scorer = Drawn(pictures=pictures), scorer_of(measure)
    scored = score_set(scorer, pairs, ("rgb", "ir"))
    asked = RobustnessTest(scorer, RULE, ("rgb", "ir"), threshold, detectors or {})
    return asked.run(pairs, scored, drawn(scored.species, scored.presentations, 6))


@cache
def swept(measure: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Robustness:
    return ask(measure)


def curve_of(found: Robustness, key: str) -> Curve:
    return next(curve for curve in found.curves if curve.key == key)


def medians(found: Robustness, key: str, species: str = "bona_fide") -> dict[str, float]:
    return {point.label: point.medians[species] for point in curve_of(found, key).points}


def test_scores_follow_the_gain_and_nothing_else_does() -> None:
    found = swept(ir_face)
    for key in ("gain", "gain_ir"):
        gains = medians(found, key)
        assert gains["×1"] == pytest.approx(120 / 255, abs=0.01)
        assert gains["×0.5"] == pytest.approx(60 / 255, abs=0.01)
        assert gains["×2"] == pytest.approx(240 / 255, abs=0.01)
        assert gains["×4"] == 1.0
    assert len(set(medians(found, "gain_rgb").values())) == 1
    assert len(set(medians(found, "darkness").values())) == 1
    # With half of the light every bona fide presentation is refused; with twice the light every print is accepted.
    points = {point.label: point.report for point in curve_of(found, "gain_ir").points}
    assert (points["×0.5"].bpcer.errors, points["×0.5"].bpcer.trials) == (6, 6)
    assert (points["×1"].bpcer.errors, points["×1"].apcer["print"].errors) == (0, 0)
    assert points["×2"].apcer["print"].errors == points["×2"].apcer["print"].trials == 3


def test_the_worst_step_and_the_range_that_holds() -> None:
    found = swept(ir_face)
    curve = curve_of(found, "gain_ir")
    assert curve.holds is not None
    assert [point.label for point in curve.holds] == ["×0.71", "×1.41"]
    assert not curve.holds_everywhere
    # At every step outside this range a whole class fails. The worst step is the one with the darkest people.
    assert curve.worst.label == "×0.25"
    headline, point = found.worst
    assert (headline.key, point.label, point.error) == ("gain", "×0.25", 1.0)
    assert curve_of(found, "gain_rgb").holds_everywhere
    assert found.unchanged.error == 0


def test_the_unchanged_step_has_the_scores_of_the_evaluation() -> None:
    pairs, scorer = Drawn(), scorer_of(balance)
    scored = score_set(scorer, pairs, ("rgb", "ir"))
    asked = RobustnessTest(scorer, RULE, ("rgb", "ir"), 0.5, {})
    plan = sweeps(("rgb", "ir"))
    for index in (0, 7):
        patch = pairs.patch(index)
        assert patch is not None
        assert asked.scores(plan, patch, index, has_pictures=True)[0] == pytest.approx(scored.scores[index, 0])


def test_darkness_dims_rgb_alone() -> None:
    dark = medians(swept(rgb_mean), "darkness")
    assert dark["×0.5"] == pytest.approx(dark["×1"] / 2, rel=0.05)
    assert dark["×0.01"] < 0.02
    gains = swept(rgb_mean)
    assert len(set(medians(gains, "gain_ir").values())) == 1


def test_blur_smooths_noise_roughens_and_compression_shows() -> None:
    found = swept(roughness)
    for key, order in (("blur", -1), ("noise", 1)):
        values = list(medians(found, key).values())
        assert values == sorted(values, reverse=order < 0)
        assert abs(values[-1] - values[0]) > 0.03
    jpeg = medians(found, "jpeg")
    assert jpeg["15"] != pytest.approx(jpeg["none"], abs=1e-4)
    assert abs(jpeg["95"] - jpeg["none"]) < abs(jpeg["15"] - jpeg["none"])


def test_gamma_bends_the_tone_and_keeps_black_and_white() -> None:
    found = medians(swept(ir_face), "gamma_ir")
    assert found["2.5"] == pytest.approx((120 / 255) ** 2.5, abs=0.01)
    assert found["0.4"] == pytest.approx((120 / 255) ** 0.4, abs=0.01)


def test_a_moved_box_moves_what_the_model_sees() -> None:
    found = swept(balance)
    shifts = list(medians(found, "box_x").values())
    # If the box moves right, the face and its bright mark move left in the crop.
    assert shifts == sorted(shifts, reverse=True)
    assert shifts[0] > 0.6 > 0.45 > shifts[-1]
    assert medians(found, "box_apart") == medians(found, "box_x")
    down = list(medians(found, "box_y").values())
    assert max(down) - min(down) < 0.02
    sizes = medians(swept(ir_face), "box_size")
    assert sizes["0 %"] == pytest.approx(120 / 255, abs=0.01)
    smooth = [medians(swept(roughness), "box_size")[f"{v:+d} %"] for v in (-20, 20)]
    assert smooth[0] != smooth[1]


def test_a_rotation_turns_both_ways_and_nothing_appears_from_nowhere() -> None:
    turned = medians(swept(above), "rotation")
    # Anticlockwise rotation moves the mark on the right upwards.
    assert turned["+30°"] > turned["+10°"] > turned["0°"] == 0.5 > turned["-10°"] > turned["-30°"]
    black = scorer_of(lambda rgb, ir: np.asarray((ir == 0).mean((1, 2, 3))))
    pairs = Drawn()
    scored = score_set(black, pairs, ("rgb", "ir"))
    found = RobustnessTest(black, RULE, ("rgb", "ir"), 0.5, {}).run(pairs, scored, [0, 6])
    assert set(medians(found, "rotation").values()) == {0.0}


def test_without_pictures_the_crop_is_changed_and_the_page_says_so() -> None:
    found = ask(ir_face, pictures=False)
    assert (found.pairs, found.with_pictures) == (12, 0)
    assert medians(found, "gain_ir")["×0.5"] == pytest.approx(60 / 255, abs=0.01)
    assert not {"box_x", "box_y", "box_size", "box_apart", "detector"} & {curve.key for curve in found.curves}
    assert "Box size" in sample_words(found)
    assert "For 12 pairs only the crop exists" in sample_words(found)
    # The same crop, pixel by pixel.
    assert medians(found, "gain")["×1"] == medians(swept(ir_face), "gain")["×1"]


class Shifted:
    """A detector that finds every face some pixels too far to the right, and no face in dark images."""

    def __init__(self, pixels: float) -> None:
        self.pixels = pixels

    def detect(self, image: Image, smallest: float = 0.0) -> Face | None:
        if self.pixels > 99:
            return None
        rows, columns = np.nonzero(image.max(2) > 55)
        x, y = float(columns.min()), float(rows.min())
        return Face(Box(x + self.pixels, y, columns.max() - x + 1, rows.max() - y + 1), 0.9, 1)


def test_each_detector_is_a_step_and_what_it_misses_is_counted() -> None:
    found = ask(balance, detectors={"right": Shifted(0), "late": Shifted(8), "blind": Shifted(100)})
    curve = curve_of(found, "detector")
    assert [point.label for point in curve.points] == [GIVEN, "right", "late", "blind"]
    given, right, late, blind = curve.points
    assert right.medians["bona_fide"] == pytest.approx(given.medians["bona_fide"], abs=0.02)
    assert late.medians["bona_fide"] < given.medians["bona_fide"] - 0.05
    assert (no_face(blind).errors, no_face(blind).trials) == (12, 12)
    assert blind.report.bpcer.trials == 0
    assert math.isnan(blind.medians["bona_fide"])
    assert no_face(right).errors == 0


def test_a_wide_picture_is_cut_to_what_the_sweeps_can_see() -> None:
    picture = np.zeros((1080, 1920, 3), np.uint8)
    picture[500:540, 900:940] = 200
    patch = Patch({"rgb": picture}, {"rgb": Box(900, 500, 40, 40)})
    window = windowed(patch)
    assert window.pictures["rgb"].shape[0] < 160
    wide = CropRule(size=112, margin=0.6)
    assert np.array_equal(window.crops(wide)["rgb"], patch.crops(wide)["rgb"])


@pytest.mark.parametrize(
    ("counts", "wanted", "expected"),
    [
        ({"bona_fide": 50, "a": 50, "b": 50, "c": 50}, 9, {"bona_fide": 9, "a": 3, "b": 3, "c": 3}),
        ({"bona_fide": 5, "a": 1, "b": 50}, 10, {"bona_fide": 5, "a": 1, "b": 9}),
        ({"a": 4, "b": 4}, 4, {"a": 2, "b": 2}),
    ],
)
def test_pairs_are_drawn_evenly(counts: dict[str, int], wanted: int, expected: dict[str, int]) -> None:
    species = [name for name, count in counts.items() for _ in range(count)]
    chosen = drawn(species, [str(i) for i in range(len(species))], wanted)
    assert chosen == sorted(set(chosen))
    found = [species[i] for i in chosen]
    assert {name: found.count(name) for name in set(found)} == expected


def test_every_presentation_is_drawn_before_one_is_drawn_twice() -> None:
    presentations = ["long"] * 90 + ["short"] * 10
    chosen = drawn(["bona_fide"] * 100, presentations, 4)
    assert [presentations[i] for i in chosen].count("short") == 2
    assert len(drawn(["bona_fide"] * 100, presentations, 40)) == 40


def test_depth_has_no_light_to_change() -> None:
    keys = {sweep.key for sweep in sweeps(("ir", "depth"))}
    assert "gain" in keys
    assert not keys & {"gain_ir", "gain_depth", "darkness"}
    depth = np.full((90, 90, 1), 500, np.float32)
    patch = Patch({"ir": np.full((90, 90, 1), 80, np.uint8), "depth": depth}, dict.fromkeys(("ir", "depth"), BOX))
    for sweep in sweeps(("ir", "depth")):
        changed = sweep.apply(patch, sweep.values[0], np.random.default_rng(0))
        assert changed.pictures["depth"].dtype == np.float32
        assert set(np.unique(changed.pictures["depth"])) == {500}


def test_json_and_page_hold_rates_with_counts_and_intervals() -> None:
    found = swept(ir_face)
    row = json.loads(json.dumps(robustness_json(found), allow_nan=False))
    assert row["worst"]["sweep"] == "gain"
    assert row["worst"]["bpcer"] == {"errors": 6, "trials": 6, "interval": [0.540742, 1.0]}
    steps = next(sweep for sweep in row["sweeps"] if sweep["sweep"] == "gain_ir")["points"]
    assert [step["step"] for step in steps][:2] == ["×0.25", "×0.35"]
    assert set(steps[0]["apcer"]) == {"print", "mask"}
    assert row["presentations"] == {"bona_fide": 6, "print": 3, "mask": 3}
    page = robustness_part(found, Limits())
    assert worst_words(found) in page
    assert page.count("<svg") == len(found.curves)
    assert "100.00%</b> <span>6/6</span><small class=range>54.07% to 100.00%" in page


def test_names_from_data_are_escaped() -> None:
    pairs = Drawn()
    pairs.kinds = ["<b>" if kind == "mask" else kind for kind in pairs.kinds]
    scorer = scorer_of(lambda rgb, ir: np.full(len(ir), 0.9))
    scored: Scored = score_set(scorer, pairs, ("rgb", "ir"))
    found = RobustnessTest(scorer, RULE, ("rgb", "ir"), 0.5, {}).run(pairs, scored, range(len(pairs)))
    page = robustness_part(found, Limits())
    assert "<b>100" in page
    assert "<b>," not in page
    assert "&lt;b&gt;" in page
