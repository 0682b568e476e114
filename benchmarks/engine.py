"""Measure the network alone: ``session.run`` of the shipped INT8 model and of the float model that it was made from."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from adsn.network.checkpoint import load_checkpoint
from benchmarks.support.machine import has_vnni
from benchmarks.support.measure import Row, in_turns, median, spread
from export.graph import session, to_onnx
from runtime.bundle.manifest import open_bundle
from runtime.liveness.open import default_bundle

ROUNDS = 300
LIMITS = {1: 1.9, 2: 1.7}
LIMIT_WITH_VNNI = 2.5
"""Limit on the ratio for one thread on CPUs with VNNI; see `has_vnni`."""
BATCH, BATCH_LIMIT = 8, 1.4
PEAK_SIZE = 768


def multiply_accumulates(model: bytes) -> int:
    """Return the number of multiply-accumulate operations in convolutions and matrix products for one pair."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    shapes |= {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.output]}
    weights = {w.name: list(numpy_helper.to_array(w).shape) for w in graph.initializer}
    total = 0
    for node in graph.node:
        out = int(np.prod(shapes[node.output[0]])) if node.output[0] in shapes else 0
        if node.op_type == "Conv":
            total += out * int(np.prod(weights[node.input[1]][1:]))
        elif node.op_type == "Gemm":
            total += out * weights[node.input[1]][1]
        elif node.op_type == "MatMul":
            total += out * (shapes.get(node.input[0]) or weights[node.input[0]])[-1]
    return total


def product(kind: int) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """Return a model of a large square matrix product in float or integers, and its inputs. It measures the peak with
    which convolutions are compared."""
    n = PEAK_SIZE
    rng = np.random.default_rng(0)
    if kind == TensorProto.FLOAT:
        weight = numpy_helper.from_array(rng.standard_normal((n, n), dtype=np.float32), "b")
        node, out = helper.make_node("MatMul", ["a", "b"], ["c"]), TensorProto.FLOAT
        feed: NDArray[Any] = rng.standard_normal((n, n), dtype=np.float32)
    else:
        # 7-bit weights, as in the shipped model.
        weight = numpy_helper.from_array(rng.integers(-64, 64, (n, n)).astype(np.int8), "b")
        node, out = helper.make_node("MatMulInteger", ["a", "b"], ["c"]), TensorProto.INT32
        feed = rng.integers(0, 256, (n, n)).astype(np.uint8)
    graph = helper.make_graph(
        [node],
        "peak",
        [helper.make_tensor_value_info("a", kind, [n, n])],
        [helper.make_tensor_value_info("c", out, [n, n])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), {"a": feed}


def batch_row(run: Any, feed: dict[str, NDArray[Any]], at: str) -> Row:
    """Compare one call with a batch with the same number of pairs in single calls."""
    batch = {name: np.repeat(value, BATCH, 0) for name, value in feed.items()}

    def singly() -> None:
        for _ in range(BATCH):
            run.run(None, feed)

    times = in_turns({"one call": partial(run.run, None, batch), "calls": singly}, ROUNDS // 4, rest_s=0.002)
    gain = median(times["calls"]) / median(times["one call"])
    return Row(
        f"INT8, batch {BATCH} in one call against {BATCH} calls, {at}",
        f"{gain:.2f} × the throughput",
        f"≥ {BATCH_LIMIT} ×",
        gain >= BATCH_LIMIT,
        f"{median(times['one call']):.2f} ms",
    )


def run() -> list[Row]:
    """Measure the latency at batch size 1 on one and two threads, and the fraction of the CPU's peak."""
    folder = default_bundle()
    bundle = open_bundle(folder)
    network, _ = load_checkpoint(folder / "checkpoint.safetensors")
    models = {"FP32": to_onnx(network), "INT8": bundle.read("model-int8-cpu")}
    rng = np.random.default_rng(0)
    feed = {e.name: rng.integers(0, 256, (1, *e.shape)).astype(e.dtype) for e in bundle.manifest.inputs}
    macs = multiply_accumulates(models["FP32"])
    rows = [
        Row("size of the INT8 model", f"{len(models['INT8']) / 2**20:.1f} MiB", "≤ 16 MB", len(models["INT8"]) <= 16e6)
    ]
    rows.append(Row("multiply-accumulate operations for one pair", f"{macs / 1e9:.3f} G"))
    note = "this processor has VNNI, so more than 2 × is possible" if has_vnni() else "no VNNI: 2.0 × is the limit"
    for threads, least in LIMITS.items():
        limit = LIMIT_WITH_VNNI if threads == 1 and has_vnni() else least
        runs = {name: session(model, threads=threads) for name, model in models.items()}
        times = in_turns({name: partial(s.run, None, feed) for name, s in runs.items()}, ROUNDS, rest_s=0.002)
        ratio = median(times["FP32"]) / median(times["INT8"])
        at = f"{threads} thread{'s' * (threads > 1)}"
        for name in models:
            rows.append(Row(f"session.run {name}, batch 1, {at}", spread(times[name])))
        rows.append(Row(f"INT8 against FP32, {at}", f"{ratio:.2f} × faster", f"≥ {limit} ×", ratio >= limit, note))
        rows.append(batch_row(runs["INT8"], feed, at))
        if threads > 1:
            continue
        peaks = {"FP32": product(TensorProto.FLOAT), "INT8": product(TensorProto.UINT8)}
        calls = {name: partial(session(model, threads=1).run, None, given) for name, (model, given) in peaks.items()}
        peak_times = in_turns(calls, 30)
        for name, bound in (("FP32", None), ("INT8", 0.75)):
            peak = PEAK_SIZE**3 / median(peak_times[name]) / 1e6
            reached = macs / median(times[name]) / 1e6
            rows.append(
                Row(
                    f"{name} against a {PEAK_SIZE}³ matrix product, 1 thread",
                    f"{reached:.1f} of {peak:.1f} G operations/s: {reached / peak:.2f}",
                    f"≥ {bound}" if bound else "",
                    reached / peak >= bound if bound else None,
                )
            )
    return rows
