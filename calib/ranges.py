"""Measure activation ranges: the range of values of each tensor in the FP32 graph on calibration pairs, stored as JSON.

Samples are streamed, so the memory used does not grow with their number. ``minmax`` reads them once. The other methods
read them a second time, to build a histogram of the magnitudes in each tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calib.clipping import BINS, clip_limit
from runtime.core.errors import InputError

SCHEMA_VERSION = 2
Method = Literal["minmax", "percentile", "entropy", "mse"]
Batches = Callable[[], Iterable[Mapping[str, NDArray[Any]]]]
"""Function that returns the same calibration samples at each call: graph input name → array [N, S, S, C]."""


class CalibrationError(InputError):
    """The calibration samples cannot be used to measure ranges."""

    code = "calibration_unusable"


@dataclass(frozen=True, slots=True)
class Ranges:
    """Measured activation ranges.

    ``tensors``: name → lowest and highest value to represent. ``seen``: the same before clipping; empty if it is the
    same. ``data_sha256``: digest of the bytes of all samples, batch by batch, so it also depends on the batch size.
    ``species``: number of samples of each species.
    """

    method: Method
    samples: int
    data: str
    data_sha256: str
    tensors: Mapping[str, tuple[float, float]]
    seen: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    species: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return readable JSON. The same ranges always give the same bytes."""
        seen = self.seen or self.tensors
        body = {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "samples": self.samples,
            "species": dict(sorted(self.species.items())),
            "data": self.data,
            "data_sha256": self.data_sha256,
            "tensors": {
                name: {"range": list(self.tensors[name]), "seen": list(seen[name])} for name in sorted(self.tensors)
            },
        }
        return (json.dumps(body, indent=1) + "\n").encode()


def read_ranges(data: bytes, what: str = "ranges.json") -> Ranges:
    """Parse the output of `Ranges.to_json`, which may have been edited by hand. ``what``: name of the file in error
    messages.

    Raises:
        CalibrationError: the file or its schema is wrong, or a range is invalid. In that case the message names the
            tensor.
    """
    try:
        body = json.loads(data)
        version, tensors = body["schema_version"], body["tensors"]
        if version != SCHEMA_VERSION:
            raise CalibrationError(
                f"{what} has schema {version}, but this version reads {SCHEMA_VERSION}. Measure the ranges again."
            )
        pairs = {}
        for name, entry in tensors.items():
            for key in ("range", "seen"):
                low, high = (float(v) for v in entry[key])
                if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                    raise CalibrationError(f"{what}: {name}: {key} must be two finite numbers in ascending order.")
                pairs[key, name] = (low, high)
        return Ranges(
            method=body["method"],
            samples=int(body["samples"]),
            data=str(body["data"]),
            data_sha256=str(body["data_sha256"]),
            tensors={name: pairs["range", name] for name in tensors},
            seen={name: pairs["seen", name] for name in tensors},
            species={str(k): int(v) for k, v in body["species"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CalibrationError(
            f"{what} is not a ranges file of adsn-export ({type(error).__name__}: {error})."
        ) from error


def stratified(species: Sequence[str], count: int, seed: int) -> list[int]:
    """Return the indices of ``count`` samples, or of all samples if there are fewer, in ascending order.

    The samples are spread over the species as evenly as possible. The same ``seed`` gives the same choice.
    """
    rng = np.random.default_rng(seed)
    species_list = sorted(set(species))
    of = {
        species_name: rng.permutation([i for i, k in enumerate(species) if k == species_name]).tolist()
        for species_name in species_list
    }
    chosen: list[int] = []
    while len(chosen) < min(count, len(species)):
        for species_name in species_list:
            if of[species_name] and len(chosen) < count:
                chosen.append(int(of[species_name].pop()))
    return sorted(chosen)


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Return ``model`` with the tensors ``names`` as its only outputs, so that a session returns them."""
    import onnx

    graph = onnx.load_from_string(model)
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    result: bytes = graph.SerializeToString()
    return result


def _session(model: bytes, names: Sequence[str]) -> Any:
    from runtime.engines.onnx import import_onnxruntime

    ort = import_onnxruntime()
    options = ort.SessionOptions()
    # Graph optimisations are off, because a tensor that was fused into another operator cannot be measured.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(with_outputs(model, names), options, providers=["CPUExecutionProvider"])


def measure_ranges(
    model: bytes,
    names: Sequence[str],
    batches: Batches,
    data: str,
    *,
    method: Method = "minmax",
    percentile: float = 99.99,
    species: Mapping[str, int] | None = None,
) -> Ranges:
    """Measure the range of each tensor in ``names`` over all ``batches``.

    ``data``: name of the samples. ``percentile``: percentage of the magnitudes that the method ``percentile`` keeps.

    Raises:
        CalibrationError: there are no samples, a modality is blank in all of them, a tensor has a value that is not
            finite, or the samples differ between two readings.
    """
    session = _session(model, names)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    samples, h = 0, hashlib.sha256()
    blank: dict[str, bool] = {}
    for batch in batches():
        for name in sorted(batch):
            h.update(np.ascontiguousarray(batch[name]).data)
            blank[name] = blank.get(name, True) and not bool(np.ptp(batch[name]))
        samples += len(next(iter(batch.values())))
        for i, values in enumerate(session.run(list(names), dict(batch))):
            low[i], high[i] = min(low[i], values.min()), max(high[i], values.max())
    if not samples:
        raise CalibrationError(
            "no calibration samples, so activation ranges cannot be measured. Pass a set to --calib."
        )
    if any(blank.values()):
        empty = ", ".join(name for name, value in blank.items() if value)
        raise CalibrationError(
            f"{empty}: every pixel of all {samples} calibration pairs has the same value. Ranges must be measured on "
            "pairs with both modalities; check the data set's paths."
        )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        bad = [n for n, a, b in zip(names, low, high, strict=True) if not np.isfinite([a, b]).all()]
        raise CalibrationError(f"these tensors take NaN or infinite values: {bad[:5]}. The checkpoint is damaged.")
    seen = {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
    tensors = seen
    if method != "minmax":
        counts = _histograms(session, names, batches, seen, h.hexdigest())
        tensors = {name: _clipped(seen[name], counts[i], method, percentile) for i, name in enumerate(names)}
    return Ranges(method, samples, data, h.hexdigest(), tensors, seen, species or {})


def _histograms(
    session: Any, names: Sequence[str], batches: Batches, seen: Mapping[str, tuple[float, float]], digest: str
) -> NDArray[np.int64]:
    """Return histograms of the magnitudes, int64 [len(names), BINS].

    Each ranges from zero to the largest magnitude in the tensor.
    """
    counts = np.zeros((len(names), BINS), np.int64)
    h = hashlib.sha256()
    for batch in batches():
        for name in sorted(batch):
            h.update(np.ascontiguousarray(batch[name]).data)
        for i, values in enumerate(session.run(list(names), dict(batch))):
            top = max(map(abs, seen[names[i]]))
            # Scaling to integers and counting them is several times faster than numpy.histogram, and exact at the edges
            # of bins.
            cells = np.minimum(np.abs(values).ravel() * np.float32(BINS / top if top else 0.0), BINS - 1)
            counts[i] += np.bincount(cells.astype(np.int32), minlength=BINS)
    if h.hexdigest() != digest:
        raise CalibrationError("the calibration samples changed while they were read. Nothing was written.")
    return counts


def _clipped(
    seen: tuple[float, float], counts: NDArray[np.int64], method: Method, percentile: float
) -> tuple[float, float]:
    low, high = seen
    top = max(abs(low), abs(high))
    # If a tensor has no values on one side of zero, such as the output of a ReLU, the CPU's uint8 uses all 8 bits for
    # the other side. TensorRT's symmetric int8 does not, but uses the same limit.
    limit = top * clip_limit(counts, method, levels=255 if low >= 0 or high <= 0 else 127, percentile=percentile)
    return max(low, -limit), min(high, limit)
