"""The parity gate: compare an INT8 artifact with FP32 on held-out pairs, at the threshold of the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adsn.evaluation.evaluate import Scored
from adsn.metrics import Report
from calib.threshold import rate_entry
from export.errors import ParityError
from runtime.bundle.manifest import Int8Artifact, Parity

Execution = Literal["served", "literal"]


@dataclass(frozen=True, slots=True)
class ParityLimits:
    """Largest accepted differences between INT8 and FP32 on any test set, as fractions.

    ``flips``: fraction of decisions that change. ``rate``: change of BPCER, or of the APCER of the worst species.
    """

    flips: float = 0.002
    rate: float = 0.002


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test set scored by FP32 and by an INT8 artifact at the same threshold. ``execution``: see `Parity`."""

    fp32: Scored
    int8: Scored
    threshold: float
    artifact: Int8Artifact = "int8-cpu"
    execution: Execution = "served"

    @property
    def title(self) -> str:
        """Short title of the comparison."""
        return f"{self.fp32.name}, {self.artifact} {'as served' if self.execution == 'served' else 'Q/DQ step by step'}"

    @property
    def differences(self) -> NDArray[np.float32]:
        difference: NDArray[np.float32] = np.abs(self.fp32.scores[:, 0] - self.int8.scores[:, 0])
        return difference

    @property
    def flips(self) -> int:
        """Number of pairs whose two scores are on different sides of the threshold."""
        t = self.threshold
        return int(((self.fp32.scores[:, 0] >= t) != (self.int8.scores[:, 0] >= t)).sum())

    def parity(self) -> Parity:
        a, b = self.fp32.report(self.threshold), self.int8.report(self.threshold)
        return Parity(
            artifact=self.artifact,
            execution=self.execution,
            data=self.fp32.name,
            data_sha256=self.fp32.digest,
            pairs=len(self.fp32.scores),
            max_score_difference=round(float(self.differences.max()), 6),
            mean_score_difference=round(float(self.differences.mean()), 6),
            decision_flips=self.flips,
            fp32=_entries(a),
            int8=_entries(b),
            int8_parts={name: _entries(part.report(self.threshold)) for name, part in self.int8.parts().items()},
        )

    def violations(self, limits: ParityLimits) -> list[str]:
        """Return a sentence for each exceeded limit."""
        a, b = self.fp32.report(self.threshold), self.int8.report(self.threshold)
        pairs = len(self.fp32.scores)
        found = []
        if self.flips > limits.flips * pairs:
            found.append(f"{self.flips} of {pairs} decisions flip ({self.flips / pairs:.2%} > {limits.flips:.2%})")
        for name, x, y in (("worst-species APCER", a.worst[1], b.worst[1]), ("BPCER", a.bpcer, b.bpcer)):
            # A difference of one presentation or less does not count.
            if abs(x.value - y.value) > max(limits.rate, 1 / max(x.trials, 1)) + 1e-9:
                found.append(f"{name} moves from {x.value:.2%} to {y.value:.2%}")
        return [f"{self.title}: {text}" for text in found]


def _entries(report: Report) -> dict[str, Any]:
    entries = {f"apcer.{species_name}": rate_entry(rate) for species_name, rate in report.apcer.items()}
    return {**entries, "bpcer": rate_entry(report.bpcer)}


def violations(comparisons: Sequence[Comparison], limits: ParityLimits) -> list[str]:
    """Return a sentence for each limit that any comparison exceeds."""
    return [text for comparison in comparisons for text in comparison.violations(limits)]


def require_parity(
    comparisons: Sequence[Comparison],
    limits: ParityLimits,
    advice: Sequence[str] = (),
    what: str = "the INT8 model",
    so: str = "nothing was written",
) -> None:
    """Require that all comparisons are within ``limits``.

    For the message: ``advice``: the layers whose quantisation costs most. ``what``: the compared model. ``so``: the
    consequence.

    Raises:
        ParityError: a limit is exceeded. The message says which figures changed and what to do.
    """
    found = violations(comparisons, limits)
    if not found:
        return
    keep = (
        "\nThese layers cost most; keep them in float with:\n  " + " ".join(f"--keep-float {n}" for n in advice)
        if advice
        else "\nPass --sensitivity to print each layer's cost, or --auto-keep to choose the layers to keep in float."
    )
    raise ParityError(
        f"{what} differs too much from FP32; {so}:\n  "
        + "\n  ".join(found)
        + keep
        + "\nOr use more calibration pairs, or accept the differences with --max-flips and --max-rate-change."
    )
