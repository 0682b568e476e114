"""That the shipped network looks where a partial attack is."""

from __future__ import annotations

import numpy as np

from adsn.evaluation.attention import engine_attention, weight_on
from runtime.bundle.manifest import open_bundle
from runtime.core.values import Box
from runtime.imaging.crop import crop
from runtime.liveness.open import default_bundle, open_engine
from synthetic import Presentation, render_patch


def test_attention_lies_on_the_attacked_region_more_than_chance_would() -> None:
    bundle = open_bundle(default_bundle())
    attend, rule = engine_attention(open_engine(bundle, precision="int8")), bundle.manifest.rule()
    found: list[tuple[float, float, float, float]] = []
    number = 0
    while len(found) < 30:
        r = render_patch(Presentation(seed=31, subject=5000 + number, species="partial", family="B", number=number))
        number += 1
        if r.conditions["lux"] < 50:
            continue
        box = Box(*r.box)
        maps = attend({"rgb": crop(r.rgb, box, rule)[None], "ir": crop(r.ir, Box(*r.ir_box), rule)[None]})[0]
        region = crop(r.region, box, rule)
        found.append(
            (
                weight_on(maps[0], region),
                weight_on(maps[1], region),
                weight_on(maps[0, 1:2], region),
                weight_on(maps[1, :1], region),
            )
        )
    rgb, ir, second_rgb, first_ir = np.array(found).T
    # Measured over 80 presentations: all maps of a stream together 1.49 (standard error 0.09) in RGB and 1.37 (0.06) in
    # IR. One map of each goes to what is wrong: 2.19 (0.09) and 2.43 (0.24). The others share out the rest of the crop.
    assert rgb.mean() > 1.15
    assert ir.mean() > 1.15
    assert second_rgb.mean() > 1.7
    assert first_ir.mean() > 1.3
