"""Scoring whole data sets, with any engine or with torch, and the figures that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adsn.data import PairDataset
from adsn.metrics import Rate, Report, auc, presentation_scores, rates
from runtime.engines.base import Engine

if TYPE_CHECKING:
    from adsn.network import ADSN

Scorer = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""Crops [N, S, S, C] by modality → float32 [N, 3]: the fused score and each stream's."""


def engine_scorer(engine: Engine) -> Scorer:
    """Score with a serving engine."""

    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        scores = engine.infer(batch)
        return np.concatenate([scores.score[:, None], scores.stream_scores], 1)

    return score


def network_scorer(network: ADSN) -> Scorer:
    """Score with torch."""
    import torch

    @torch.no_grad()
    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        fused, streams, _ = network(*(torch.from_numpy(batch[m]) for m in network.config.modalities))
        result: NDArray[np.float32] = torch.cat([fused[:, None], streams], 1).numpy()
        return result

    return score


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored set: ``scores`` float32 [N, 3] (fused, then each stream) and, per pair, what it was."""

    name: str
    digest: str
    scores: NDArray[np.float32]
    species: list[str]
    presentations: list[str]
    subjects: list[str]
    rgb_means: list[float]

    def presentations_of(self, column: int = 0) -> tuple[NDArray[np.float64], list[str]]:
        """One score a presentation and its species; ISO/IEC 30107-3 counts these."""
        return presentation_scores(self.scores[:, column], self.species, self.presentations)

    def report(self, threshold: float) -> Report:
        """Error rates of the fused score at ``threshold``."""
        values, species = self.presentations_of()
        return rates(values, species, threshold)

    def auc(self, column: int = 0) -> float:
        """Area under the ROC curve, over presentations."""
        values, species = self.presentations_of(column)
        return auc(values, [int(kind == "bona_fide") for kind in species])


def batch_of(
    pairs: PairDataset, start: int, stop: int, modalities: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """Samples ``start`` to ``stop`` as one batch, and the samples themselves."""
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
    """Score every pair of a set in order. ``tick`` is called with the number of pairs finished since the last call."""
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
        rgb_means=[float(s.crops["rgb"].mean()) for s in samples],
    )


def rate_json(rate: Rate) -> dict[str, Any]:
    """A rate as the manifest and the reports write it."""
    low, high = rate.interval
    return {"errors": rate.errors, "trials": rate.trials, "interval": [round(low, 6), round(high, 6)]}


def report_json(scored: Scored, threshold: float) -> dict[str, Any]:
    """The figures of one set at ``threshold``, for JSON."""
    report = scored.report(threshold)
    species, worst = report.worst if report.apcer else ("", Rate(0, 0))
    return {
        "set": scored.name,
        "data_sha256": scored.digest,
        "pairs": len(scored.scores),
        "threshold": threshold,
        "auc": scored.auc(0),
        "auc_streams": [scored.auc(1), scored.auc(2)],
        "apcer": {kind: rate_json(rate) for kind, rate in report.apcer.items()},
        "worst_species": species,
        "apcer_worst": worst.value,
        "bpcer": rate_json(report.bpcer),
    }
