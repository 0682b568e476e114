"""Attributes are drawn without knowing the species, and changing one changes nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from synthetic import (
    SPECIES,
    Attributes,
    Presentation,
    attributes_of,
    draw_attributes,
    draw_glasses,
    draw_hat,
    draw_medical_mask,
    render_patch,
)

TRAITS: dict[str, Callable[[Attributes], float]] = {
    "glasses": lambda worn: worn.glasses is not None,
    "clear glasses": lambda worn: worn.glasses is not None and worn.glasses.tint == 0,
    "hat": lambda worn: worn.hat is not None,
    "medical mask": lambda worn: worn.medical_mask is not None,
    "smile": lambda worn: worn.face.smile,
    "open mouth": lambda worn: worn.face.open_mouth,
    "eyes": lambda worn: worn.face.eyes,
    "gaze": lambda worn: worn.face.gaze[0],
}


def test_every_attribute_has_the_same_distribution_in_every_species() -> None:
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for species in SPECIES:
        for subject in range(1000):
            # One presentation per subject: copies of one picture show the same attributes.
            worn = attributes_of(Presentation(seed=5, subject=subject, species=species))
            for name, trait in TRAITS.items():
                seen[name][species].append(float(trait(worn)))
    for name, by_species in seen.items():
        values = {species: np.array(v) for species, v in by_species.items()}
        spread = np.concatenate(list(values.values())).std()
        means = [v.mean() for v in values.values()]
        # Ten means of a thousand draws each: they lie within five standard errors of each other.
        assert max(means) - min(means) < 5 * spread / np.sqrt(1000), name


def test_one_face_in_twelve_wears_a_medical_mask_and_is_else_the_same() -> None:
    drawn = [Presentation(seed=5, subject=subject, species="mask_rigid") for subject in range(4000)]
    worn = [attributes_of(presentation) for presentation in drawn]
    assert 0.07 < np.mean([w.medical_mask is not None for w in worn]) < 0.09
    for presentation, attributes in zip(drawn[:200], worn, strict=False):
        without = draw_attributes(np.random.default_rng([*presentation.key, 3]))
        assert replace(attributes, medical_mask=None) == without


def test_attributes_are_independent_of_each_other() -> None:
    drawn = [attributes_of(Presentation(seed=5, subject=subject)) for subject in range(4000)]
    columns = np.array([[float(trait(worn)) for name, trait in TRAITS.items() if name != "clear glasses"]
                        for worn in drawn])  # fmt: skip
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 0.08


def worn_bare(species: str, subject: int = 40) -> Attributes:
    worn = attributes_of(Presentation(seed=5, subject=subject, species=species))
    return replace(worn, glasses=None, hat=None, medical_mask=None)


# No glasses are worn over a partial attack that consists of solid glasses.
CHANGED = [(s, name) for s in SPECIES for name in ("hat", "medical_mask")]
CHANGED += [(s, "glasses") for s in SPECIES if s != "partial"]


@pytest.mark.parametrize(("species", "attribute"), CHANGED)
def test_changing_an_attribute_changes_only_where_it_shows(species: str, attribute: str) -> None:
    rng = np.random.default_rng(1)
    bare = worn_bare(species)
    if attribute == "glasses":
        changed = replace(bare, glasses=draw_glasses(rng), glasses_on_picture=True)
    elif attribute == "hat":
        changed = replace(bare, hat=draw_hat(rng))
    else:
        changed = replace(bare, medical_mask=draw_medical_mask(rng))
    pictures = [
        render_patch(Presentation(seed=5, subject=40, species=species, attributes=worn)) for worn in (bare, changed)
    ]
    a, b = pictures
    assert a.box == b.box
    # A screen shows nothing in IR, and a dark room nothing in RGB.
    assert not (np.array_equal(a.rgb, b.rgb) and np.array_equal(a.ir, b.ir))
    # Exposure follows the face, so grey levels may shift everywhere; otherwise the wall's corner is unchanged.
    corners = [r.rgb[:12, :12].astype(float).ravel() for r in (a, b)]
    if min(c.std() for c in corners) > 5:
        assert np.corrcoef(corners[0], corners[1])[0, 1] > 0.5
    else:
        # A medical mask is half of the face that is metered.
        share = 0.5 if attribute == "medical_mask" else 0.2
        assert abs(np.median(corners[0]) - np.median(corners[1])) <= max(12, share * np.median(corners[0]))
    assert {k: v for k, v in a.conditions.items() if not k.endswith("_mean")} == {
        k: v for k, v in b.conditions.items() if not k.endswith("_mean")
    }


def test_glasses_show_in_rgb_and_ir_on_prints_masks_and_people() -> None:
    rng = np.random.default_rng(2)
    glasses = replace(draw_glasses(rng), dark_frame=0.02, thickness=3.0)
    for species in ("bona_fide", "print_matte", "print_vinyl", "mask_rigid", "mask_silicone", "mask_paper"):
        shown = 0
        for subject in range(40, 46):
            bare = worn_bare(species, subject)
            a, b = (
                render_patch(Presentation(seed=5, subject=subject, species=species, attributes=worn))
                for worn in (bare, replace(bare, glasses=glasses, glasses_on_picture=True))
            )
            x, y, w, h = (round(v) for v in b.ir_box)
            eyes = np.s_[y : y + h // 2, x : x + w]
            shown += int(np.abs(a.ir[eyes].astype(int) - b.ir[eyes].astype(int)).max() > 40)
        assert shown >= 5, species
