"""Score whole data sets with any engine or with PyTorch, and compute their figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import PairDataset
from adsn.metrics import (
    Rate,
    Report,
    apcer_at_bpcer,
    auc,
    bpcer_at_apcer,
    clopper_pearson,
    detection_eer,
    presentation_scores,
    rates,
    subject_bootstrap,
)
from runtime.core.errors import InferenceFailed
from runtime.core.species import BONA_FIDE
from runtime.engines.base import Engine

if TYPE_CHECKING:
    from adsn.network.model import ADSN

PAIR_MISMATCH = "pair_mismatch"
"""Species of pairs of bona fide images that do not belong together, see `adsn.evaluation.mismatch`."""
LOW_LIGHT = 10
"""Mean grey level (0 to 255) of an RGB crop below which a pair counts as low light."""
Scorer = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""Function from crops [N, S, S, C] by modality to scores, float32 [N, 3]: fused score, then the score of each
stream."""


def engine_scorer(engine: Engine) -> Scorer:
    """Return a scorer that runs a serving engine."""

    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        scores = engine.infer(batch)
        return np.concatenate([scores.score[:, None], scores.stream_scores], 1)

    return score


def network_scorer(network: ADSN) -> Scorer:
    """Return a scorer that runs the network in PyTorch. It raises `InferenceFailed` if a score is not finite."""
    import torch

    @torch.no_grad()
    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        fused, streams, _ = network(*(torch.from_numpy(batch[m]) for m in network.config.modalities))
        result: NDArray[np.float32] = torch.cat([fused[:, None], streams], 1).numpy()
        if not np.isfinite(result).all():
            raise InferenceFailed("the network returned scores that are NaN or infinite. Train it again.")
        return result

    return score


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored set: ``scores``, float32 [N, 3] (fused, then each stream), and the metadata of each pair."""

    name: str
    digest: str
    scores: NDArray[np.float32]
    species: list[str]
    presentations: list[str]
    subjects: list[str]
    rgb_means: list[float]
    conditions: list[Mapping[str, float]]

    def presentations_of(self, column: int = 0) -> tuple[NDArray[np.float64], list[str]]:
        """Return one score per presentation, which ISO/IEC 30107-3 counts, and the species of each."""
        return presentation_scores(self.scores[:, column], self.species, self.presentations)

    def part(self, name: str, chosen: NDArray[np.bool_]) -> Scored:
        """Return the part of the set for which ``chosen``, bool [N], is true."""
        at = np.flatnonzero(chosen).tolist()
        return Scored(
            name=name,
            digest=self.digest,
            scores=self.scores[at],
            species=[self.species[i] for i in at],
            presentations=[self.presentations[i] for i in at],
            subjects=[self.subjects[i] for i in at],
            rgb_means=[self.rgb_means[i] for i in at],
            conditions=[self.conditions[i] for i in at],
        )

    def joined(self, other: Scored) -> Scored:
        """Return these pairs followed by those of another set, with the name and digest of this set."""
        return Scored(
            name=self.name,
            digest=self.digest,
            scores=np.concatenate([self.scores, other.scores]),
            species=self.species + other.species,
            presentations=self.presentations + other.presentations,
            subjects=self.subjects + other.subjects,
            rgb_means=self.rgb_means + other.rgb_means,
            conditions=self.conditions + other.conditions,
        )

    def parts(self) -> dict[str, Scored]:
        """Return the parts that are reported separately: pairs in low light, and each source of face shape."""
        dark = np.array(self.rgb_means) < LOW_LIGHT
        parts = {f"RGB mean below {LOW_LIGHT}/255": dark, "the rest": ~dark}
        if all("scan_derived" in c for c in self.conditions):
            scan = np.array([c["scan_derived"] > 0 for c in self.conditions])
            parts |= {"scan-derived shapes": scan, "analytic shapes": ~scan}
        return {name: self.part(name, chosen) for name, chosen in parts.items() if chosen.any()}

    def report(self, threshold: float) -> Report:
        """Return the error rates of the fused score at ``threshold``."""
        values, species = self.presentations_of()
        return rates(values, species, threshold)

    def auc(self, column: int = 0) -> float:
        """Return the area under the ROC curve over presentations of people and instruments.

        Mismatched pairs are left out, because each of their images on its own shows a real face.
        """
        values, species = self.presentations_of(column)
        kept = [i for i, name in enumerate(species) if name != PAIR_MISMATCH]
        return auc(values[kept], [int(species[i] == BONA_FIDE) for i in kept])

    def auc_by_species(self) -> dict[str, float]:
        """Return species → area under the ROC curve of the fused score, bona fide against that attack species."""
        values, species = self.presentations_of()
        names, answered = np.array(species), ~np.isnan(values)
        live = names == BONA_FIDE
        chosen = {name: answered & (live | (names == name)) for name in sorted(set(species) - {BONA_FIDE})}
        return {name: auc(values[own], live[own]) for name, own in chosen.items()}


def batch_of(
    pairs: PairDataset, start: int, stop: int, modalities: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """Return samples ``start`` to ``stop`` as one batch, and the samples themselves."""
    samples = [pairs[i] for i in range(start, min(stop, len(pairs)))]
    return {m: np.stack([sample.crops[m] for sample in samples]) for m in modalities}, samples


def score_set(
    scorer: Scorer,
    pairs: PairDataset,
    modalities: tuple[str, ...],
    *,
    batch: int = 16,
    tick: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score all pairs of a set in order. ``tick``: called with the number of pairs finished since the last call."""
    rows: list[NDArray[np.float32]] = []
    samples: list[Any] = []
    for start in range(0, len(pairs), batch):
        crops, chunk = batch_of(pairs, start, start + batch, modalities)
        rows.append(scorer(crops))
        samples += chunk
        tick(len(chunk))
    return Scored(
        name=pairs.name,
        digest=pairs.digest(),
        scores=np.concatenate(rows),
        species=[s.species for s in samples],
        presentations=[s.presentation for s in samples],
        subjects=[s.subject for s in samples],
        rgb_means=[float(s.crops["rgb"].mean()) if "rgb" in s.crops else math.nan for s in samples],
        conditions=[s.conditions for s in samples],
    )


def rate_json(rate: Rate) -> dict[str, Any]:
    """Return a rate in the format of the manifest and the reports."""
    low, high = rate.interval
    return {"errors": rate.errors, "trials": rate.trials, "interval": [round(low, 6), round(high, 6)]}


def report_json(scored: Scored, threshold: float) -> dict[str, Any]:
    """Return the figures of one set at ``threshold``, for JSON."""
    report = scored.report(threshold)
    species, worst = report.worst
    values, species_list = scored.presentations_of()
    return {
        "set": scored.name,
        "data_sha256": scored.digest,
        "pairs": len(scored.scores) - scored.species.count(PAIR_MISMATCH),
        "threshold": threshold,
        "auc": scored.auc(0),
        "auc_streams": [scored.auc(1), scored.auc(2)],
        "auc_species": {name: None if math.isnan(v) else v for name, v in scored.auc_by_species().items()},
        "apcer": {species_name: rate_json(rate) for species_name, rate in report.apcer.items()},
        "worst_species": species,
        "apcer_worst": worst.value,
        "bpcer": rate_json(report.bpcer),
        "apnrr": {species_name: rate_json(rate) for species_name, rate in report.apnrr.items()},
        "bpnrr": rate_json(report.bpnrr),
        "bpcer_subject_bootstrap": _bootstrap(scored, threshold),
        "curve": curve_figures(values, species_list),
        "parts": {
            name: {
                "apcer": {species_name: rate_json(rate) for species_name, rate in part.report(threshold).apcer.items()},
                "bpcer": rate_json(part.report(threshold).bpcer),
            }
            for name, part in scored.parts().items()
        },
    }


def curve_figures(values: NDArray[np.float64], species_list: list[str]) -> dict[str, float] | None:
    """Return the figures that do not depend on the model's threshold.

    Returns None without bona fide or without attack presentations.
    """
    if len({species_name == BONA_FIDE for species_name in species_list}) < 2:
        return None
    return {
        "bpcer_at_apcer_5_percent": bpcer_at_apcer(values, species_list, 0.05)[1].value,
        "bpcer_at_apcer_1_percent": bpcer_at_apcer(values, species_list, 0.01)[1].value,
        "apcer_worst_at_bpcer_1_percent": apcer_at_bpcer(values, species_list, 0.01)[2].value,
        "detection_eer_worst_species": detection_eer(values, species_list),
    }


def _bootstrap(scored: Scored, threshold: float) -> list[float] | None:
    """Return the 95 % interval of BPCER over resampled subjects, or None if there are too few.

    If nobody or everybody was refused, every resample gives the same rate. The interval is then the Clopper-Pearson
    interval for this number of subjects.
    """
    live = scored.part("", np.array(scored.species) == BONA_FIDE)
    values, species_list = live.presentations_of()
    owner = dict(zip(live.presentations, live.subjects, strict=True))
    subjects = list(owner.values())
    if len(set(subjects)) < 2:
        return None
    rate = rates(values, species_list, threshold).bpcer
    if not rate.trials:
        return None
    if rate.errors in (0, rate.trials):
        people = len({subject for subject, value in zip(subjects, values.tolist(), strict=True) if value == value})
        return list(clopper_pearson(people if rate.errors else 0, people))
    return list(subject_bootstrap(values, species_list, subjects, lambda s, k: rates(s, k, threshold).bpcer.value))
