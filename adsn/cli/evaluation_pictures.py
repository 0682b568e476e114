"""Select the samples that ``adsn-eval`` shows in its report, with and without attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adsn.cli.evaluated_model import EvaluatedModel

if TYPE_CHECKING:
    from adsn.datasets.pairs import PairDataset
    from adsn.evaluation.evaluate import Scored
    from adsn.evaluation.report import ReportImage
    from runtime.imaging.crop import CropRule


def worst_pictures(
    subject: EvaluatedModel, pairs: PairDataset, scored: Scored, plain: int, explained: int
) -> list[ReportImage]:
    """Return crops of the highest-scored attacks and lowest-scored bona fide pairs, some with attention."""
    from adsn.evaluation.attention import overlay, weight_on
    from adsn.evaluation.report import ReportImage, worst_samples
    from runtime.imaging.overlay import grey_picture

    pictures = []
    for index in worst_samples(scored, plain):
        sample = pairs[index]
        crops = {m: grey_picture(np.asarray(sample.crops[m])) for m in subject.modalities}
        pictures.append(ReportImage(f"{sample.species}, score {float(scored.scores[index, 0]):.4f}", crops))
    for index in worst_samples(scored, explained):
        sample = pairs[index]
        maps = subject.attend({m: np.asarray(sample.crops[m])[None] for m in subject.modalities})[0]
        shown: dict[str, NDArray[np.uint8]] = {}
        words = []
        for k, m in enumerate(subject.modalities):
            crop = np.asarray(sample.crops[m])
            # Show the crop next to the overlay, because the overlay hides what it covers.
            shown |= {m: grey_picture(crop), f"{m} with attention": overlay(crop, maps[k])}
            words.append(f"{m} ×{weight_on(maps[k], face_region(subject.rule)):.1f}")
        caption = (
            f"{sample.species}, score {float(scored.scores[index, 0]):.4f}; attention on the face against chance: "
        )
        pictures.append(ReportImage(caption + ", ".join(words), shown))
    return pictures


def face_region(rule: CropRule) -> NDArray[np.uint8]:
    """Return a mask of the face box in a crop, uint8 [S, S], 255 inside."""
    edge = rule.size / (1 + 2 * rule.margin)
    low, high = round((rule.size - edge) / 2), round((rule.size + edge) / 2)
    region = np.zeros((rule.size, rule.size), np.uint8)
    region[low:high, low:high] = 255
    return region
