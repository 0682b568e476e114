"""Activation ranges: measured and clipped values; the same samples give the same file."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from calib.clipping import BINS, clip_limit
from calib.ranges import Batches, CalibrationError, Method, measure_ranges, read_ranges, stratified


def model() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "K"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "K"])
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Relu", ["n"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = proto.SerializeToString()
    return data


def always(*arrays: Any) -> Batches:
    return lambda: [{"x": np.array(a, np.float32)} for a in arrays]


def test_ranges_follow_every_batch() -> None:
    batches = always([[1, -3]], [[7, 0], [2, 2]])
    found = measure_ranges(model(), ["n", "y"], batches, "test", species={"b": 1, "a": 2})
    assert found.tensors == {"n": (-7.0, 3.0), "y": (0.0, 3.0)}
    assert found.samples == 3
    assert measure_ranges(model(), ["n", "y"], batches, "test", species={"a": 2, "b": 1}).to_json() == found.to_json()
    assert json.loads(found.to_json())["tensors"]["n"] == {"range": [-7.0, 3.0], "seen": [-7.0, 3.0]}


@pytest.mark.parametrize(
    ("batches", "match"),
    [
        ([], "no calibration samples"),
        ([{"x": np.array([[np.nan, 0]], np.float32)}], "NaN or infinite values"),
        ([{"x": np.full((2, 2), 5, np.float32)}], "x: every pixel of all 2 calibration pairs has the same value"),
    ],
)
def test_samples_that_give_no_ranges(batches: list[dict[str, NDArray[Any]]], match: str) -> None:
    with pytest.raises(CalibrationError, match=match):
        measure_ranges(model(), ["n"], lambda: batches, "test")


def test_samples_that_change_while_they_are_read() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match="changed while they were read"):
        measure_ranges(model(), ["n"], lambda: [{"x": rng.normal(size=(1, 9)).astype(np.float32)}], "t", method="mse")


@pytest.mark.parametrize("method", [m for m in get_args(Method) if m != "minmax"])
def test_one_wild_value_is_clipped_and_the_bulk_is_not(method: Method) -> None:
    values = np.random.default_rng(0).normal(size=(4, 50_000)).astype(np.float32)
    values[0, 0] = 60
    found = measure_ranges(model(), ["n"], always(values), "test", method=method, percentile=99.99)
    assert found.seen["n"][0] == -60
    # For one value in 200,000, clipping it costs as much as steps that are twice as coarse for all others.
    assert -31 < found.tensors["n"][0] < -2.5
    assert found.tensors["n"][1] == pytest.approx(found.seen["n"][1], rel=0.5)
    assert found.method == method


def test_mse_is_better_than_its_neighbours() -> None:
    """Compare with plain rounding at other limits."""
    values = np.abs(np.random.default_rng(1).standard_t(4, 200_000))
    counts, _ = np.histogram(values, BINS, (0, values.max()))
    limit = clip_limit(counts, "mse", levels=127)

    def error(share: float) -> float:
        step = share * values.max() / 127
        return float(np.square(values - np.minimum(np.rint(values / step), 127) * step).mean())

    assert error(limit) <= min(error(limit * f) for f in (0.7, 1.4)) * 1.001
    assert error(limit) < 0.75 * error(1.0)


def test_percentile_keeps_its_share() -> None:
    counts = np.full(BINS, 10)
    assert clip_limit(counts, "percentile", levels=127, percentile=90) == pytest.approx(0.9, abs=2 / BINS)
    assert clip_limit(counts, "percentile", levels=127, percentile=100) == 1.0


@pytest.mark.parametrize("method", get_args(Method))
def test_a_tensor_of_zeros_is_not_clipped(method: Method) -> None:
    counts = np.zeros(BINS, np.int64)
    counts[0] = 100
    assert clip_limit(counts, method, levels=127) == 1.0


def test_memory_does_not_grow_with_the_samples() -> None:
    def batches(count: int) -> Batches:
        def give() -> Iterator[dict[str, NDArray[Any]]]:
            for seed in range(count):
                yield {"x": np.random.default_rng(seed).normal(size=(1, 100_000)).astype(np.float32)}

        return give

    def peak(count: int) -> int:
        tracemalloc.start()
        measure_ranges(model(), ["n", "y"], batches(count), "test", method="entropy")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)
    assert peak(40) < 1.5 * peak(4)


def test_samples_are_drawn_evenly_and_alike_for_a_seed() -> None:
    species = ["bona_fide"] * 100 + ["print"] * 30 + ["mask"] * 5
    chosen = stratified(species, 45, seed=3)
    assert Counter(species[i] for i in chosen) == {"bona_fide": 20, "print": 20, "mask": 5}
    assert chosen == sorted(set(chosen)) == stratified(species, 45, seed=3)
    assert chosen != stratified(species, 45, seed=4)
    assert stratified(species, 500, seed=0) == list(range(135))


def test_a_file_of_ranges_is_read_as_it_was_written() -> None:
    found = measure_ranges(model(), ["n", "y"], always([[1, -3]], [[7, 0]]), "test", species={"a": 2})
    assert read_ranges(found.to_json()) == found


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda body: body.update(schema_version=1), "schema 1, but this version reads 2"),
        (lambda body: body["tensors"]["n"].update(range=[3, -7]), "mine.json: n: range must be two finite numbers"),
        (lambda body: body["tensors"]["n"].update(range=[0, float("nan")]), "n: range must be two finite"),
        (lambda body: body["tensors"]["n"].update(range=[0]), "is not a ranges file of adsn-export"),
        (lambda body: body.pop("tensors"), "is not a ranges file of adsn-export"),
    ],
)
def test_a_file_that_was_changed_wrongly_is_refused(change: Callable[[dict[str, Any]], Any], match: str) -> None:
    body = json.loads(measure_ranges(model(), ["n"], always([[1, -3]]), "test").to_json())
    change(body)
    with pytest.raises(CalibrationError, match=match):
        read_ranges(json.dumps(body).encode(), "mine.json")
