"""Unsafe model files: each kind raises its own error."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from runtime.bundle.onnx_check import MAX_BYTES, MAX_NODES, check_model
from runtime.core.errors import (
    ExternalData,
    NotAModel,
    UnknownOperator,
    UnknownOpset,
    UnsafeModel,
    WeightsNotFinite,
)
from runtime.liveness.open import default_bundle, open_pipeline
from tests.support.models.bundles import redigest  # a fixture

MODEL = default_bundle() / "model.int8-cpu.onnx"


def small(**changes: Any) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    nodes = changes.get("nodes", [helper.make_node("Add", ["x", "w"], ["y"], "add")])
    weights = changes.get("weights", [numpy_helper.from_array(np.ones(2, np.float32), "w")])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", changes.get("opset", 17))], ir_version=8)


def test_models_that_pass() -> None:
    check_model(small().SerializeToString(), "small")
    check_model(small(nodes=[helper.make_node("Relu", ["x"], ["y"])] * MAX_NODES).SerializeToString(), "large")
    check_model(MODEL.read_bytes(), "shipped")


def external() -> onnx.ModelProto:
    model = small()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return model


def external_in_a_constant() -> onnx.ModelProto:
    tensor = external().graph.initializer[0]
    node = helper.make_node("Add", ["x", "x"], ["y"], "add", value=tensor)
    return small(nodes=[node])


def with_function() -> onnx.ModelProto:
    model = small()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return model


def with_subgraph() -> onnx.ModelProto:
    return small(nodes=[helper.make_node("Add", ["x", "w"], ["y"], "add", body=small().graph)])


def of_another_domain() -> onnx.ModelProto:
    model = small()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def bomb() -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.dims[0] = 1 << 30
    return small(weights=[tensor])


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (external(), ExternalData, "'w' are stored outside"),
        (external_in_a_constant(), ExternalData, "'w' are stored outside"),
        (small(opset=99), UnknownOpset, "opset 99"),
        (small(opset=9), UnknownOpset, "opset 9"),
        (small(nodes=[helper.make_node("ConstantOfShape", ["x"], ["y"])]), UnknownOperator, "'ConstantOfShape'"),
        (small(nodes=[helper.make_node("Add", ["x", "x"], ["y"], domain="evil")]), UnknownOperator, "'evil::Add'"),
        (of_another_domain(), UnknownOperator, "'com.microsoft'"),
        (small(weights=[numpy_helper.from_array(np.array([1, np.nan], np.float32), "w")]), WeightsNotFinite, "'w'"),
        (small(weights=[numpy_helper.from_array(np.array([1, np.inf], np.float16), "w")]), WeightsNotFinite, "'w'"),
        (small(weights=[helper.make_tensor("w", TensorProto.FLOAT, [2], [1, np.nan])]), WeightsNotFinite, "'w'"),
        (with_function(), NotAModel, "functions"),
        (with_subgraph(), NotAModel, "subgraph"),
        (bomb(), NotAModel, "declare the impossible shape"),
        (small(nodes=[helper.make_node("Relu", ["x"], ["y"])] * (MAX_NODES + 1)), NotAModel, "4097 nodes"),
        (small(nodes=[]), NotAModel, "0 nodes"),
    ],
)
def test_models_that_are_refused(model: onnx.ModelProto, error: type[UnsafeModel], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        check_model(model.SerializeToString(), "the file")
    assert caught.value.message.startswith("the file: ")


def test_too_large_and_no_model() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_BYTES + 1

    with pytest.raises(NotAModel, match="256 MiB"):
        check_model(Huge(), "x")
    for data in (b"", b"not a model", b"\x00" * 40, b"\xff" * 40, small().SerializeToString()[:-5]):
        with pytest.raises(UnsafeModel):
            check_model(data, "x")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 10**6))
def test_any_bytes_end_in_an_answer(noise: bytes, at: int) -> None:
    whole = small().SerializeToString()
    at %= len(whole)
    for data in (noise, whole[:at] + noise + whole[at:], whole[:at] + noise[:3] + whole[at + 3 :]):
        # Any other exception makes the test fail.
        with contextlib.suppress(UnsafeModel):
            check_model(data, "x")


@pytest.mark.parametrize(
    ("model", "error"),
    [(external(), ExternalData), (small(opset=99), UnknownOpset), (bomb(), NotAModel)],
    ids=["external", "opset", "bomb"],
)
def test_a_bundle_with_such_a_model_does_not_load(
    folder: Path,
    model: onnx.ModelProto,
    error: type[UnsafeModel],
) -> None:
    """The check refuses the file even if the manifest was changed to match it."""
    redigest(folder, "model-int8-cpu", model.SerializeToString())
    with pytest.raises(error):
        open_pipeline(folder)
