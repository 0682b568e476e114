"""That the shipped network looks where a partial attack is."""

from __future__ import annotations

import numpy as np

from adsn.evaluation.attention import engine_attention, weight_on
from runtime.bundle.manifest import open_bundle
from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from runtime.liveness.open import default_bundle, open_engine
from synthetic import render_patch


def test_attention_lies_on_the_attacked_region_more_than_chance_would() -> None:
    attend, rule = engine_attention(open_engine(open_bundle(default_bundle()), precision="int8")), CropRule()
    found: list[tuple[float, float, float]] = []
    number = 0
    while len(found) < 30:
        r = render_patch(seed=31, subject=5000 + number, species="partial", family="B", presentation=number)
        number += 1
        if r.conditions["lux"] < 50:
            continue
        box = Box(*r.box)
        maps = attend({"rgb": crop(r.rgb, box, rule)[None], "ir": crop(r.ir, Box(*r.ir_box), rule)[None]})[0]
        region = crop(r.region, box, rule)
        found.append((weight_on(maps[0], region), weight_on(maps[0, :1], region), weight_on(maps[1], region)))
    colour, first, infrared = np.array(found).T
    # Measured over 80 presentations: infrared 3.44 (standard error 0.17). In colour 1.04 (0.04) over the four maps, of
    # which the first goes to what is wrong, 2.58 (0.13), and the others share out the rest of the picture.
    assert infrared.mean() > 2.5
    assert (infrared > 1).mean() > 0.8
    assert first.mean() > 1.8
    assert colour.mean() > 0.85
