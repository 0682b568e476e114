"""Checks of an ONNX file before a runtime loads it: only this network's operators, and all weights inside the file.

The digest proves that a file is the one that was exported. This check ensures that even an exported and signed file can
do nothing but compute. It parses the protocol buffer itself, so that serving does not need the ``onnx`` package. It
runs before a session is created, because even a small file can make ONNX Runtime allocate gigabytes on the first run.
Field numbers are those of onnx.proto in ONNX 1.16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.core.errors import (
    ExternalData,
    NotAModel,
    UnknownOperator,
    UnknownOpset,
    WeightsNotFinite,
)

OPERATORS = frozenset(
    [
        *("Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "DepthToSpace", "DequantizeLinear", "Div", "Gemm"),
        *("Identity", "MatMul", "MaxPool", "Mul", "Pad", "QuantizeLinear", "ReduceSum", "Relu", "Reshape", "Sigmoid"),
        *("Slice", "Sqrt", "Sub", "Transpose", "Unsqueeze"),
    ]
)
"""Operators used in the graphs of this network. The size of each one's output is bounded by its inputs and weights."""
OPSETS = range(13, 22)
MAX_NODES = 4096
MAX_BYTES = 256 << 20
FLOAT, FLOAT16, DOUBLE = 1, 10, 11
RAW_TYPES: dict[int, np.dtype[Any]] = {FLOAT: np.dtype("<f4"), FLOAT16: np.dtype("<f2"), DOUBLE: np.dtype("<f8")}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

WireField = tuple[int, int | memoryview]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise NotAModel("the file ends within a number; it is not an ONNX model or is truncated.")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: memoryview) -> Iterator[WireField]:
    """Yield the number and value of each field of a message. The value is an integer or the field's bytes.

    Raises:
        NotAModel: the message is malformed.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise NotAModel(f"a field has the unknown wire type {kind}; the file is not an ONNX model.")
        if at + length > len(data):
            raise NotAModel("a field is longer than the file; it is not an ONNX model or is truncated.")
        yield number, data[at : at + length]
        at += length


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise NotAModel("a number stands where a message is expected; the file is not an ONNX model.")
    return value


def check_model(data: bytes, where: str) -> None:
    """Check a serialised model. ``where``: name of the model in error messages.

    Raises:
        NotAModel: the data is not an ONNX model, is too large, or has parts that this project never writes (functions,
            subgraphs).
        ExternalData: values are stored outside the file.
        UnknownOpset, UnknownOperator: this version does not support the opset or an operator.
        WeightsNotFinite: a weight is NaN or infinite.
    """
    if len(data) > MAX_BYTES:
        raise NotAModel(f"{where} has {len(data) >> 20} MiB; models of this project are below {MAX_BYTES >> 20} MiB.")
    try:
        _check(memoryview(data))
    except (NotAModel, ExternalData, UnknownOpset, UnknownOperator, WeightsNotFinite) as error:
        raise type(error)(f"{where}: {error.message}") from None


def _check(data: memoryview) -> None:
    opset, graph = 0, None
    for number, value in fields(data):
        if number == 8:
            entry = dict(fields(_message(value)))
            domain = _text(entry.get(1, memoryview(b"")))
            if domain not in ("", "ai.onnx"):
                raise UnknownOperator(f"it uses the operator domain {domain!r}; only ONNX's own is allowed.")
            version = entry.get(2, 0)
            opset = version if isinstance(version, int) else 0
        elif number == 7:
            graph = _message(value)
        elif number in (20, 25):
            raise NotAModel("it contains functions or training information, which this project never writes.")
    if graph is None:
        raise NotAModel("it contains no graph; it is not an ONNX model.")
    if opset not in OPSETS:
        raise UnknownOpset(f"opset {opset} is not supported; supported are {OPSETS.start} to {OPSETS.stop - 1}.")
    nodes = 0
    for number, value in fields(graph):
        if number == 1:
            nodes += 1
            _check_node(_message(value))
        elif number == 5:
            _check_tensor(_message(value))
        elif number == 15:
            raise NotAModel("it contains sparse weights, which this project never writes.")
    if not 0 < nodes <= MAX_NODES:
        raise NotAModel(f"it has {nodes} nodes; models of this project have 1 to {MAX_NODES}.")


def _check_node(node: memoryview) -> None:
    operator = domain = ""
    for number, value in fields(node):
        if number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            for inner, content in fields(_message(value)):
                if inner in (6, 11):
                    raise NotAModel("a node contains a subgraph, which this project never writes.")
                if inner in (5, 10):
                    _check_tensor(_message(content))
    if operator not in OPERATORS or domain not in ("", "ai.onnx"):
        name = f"{domain}::{operator}" if domain else operator
        raise UnknownOperator(f"it uses the operator {name!r}, which no model of this project contains.")


def _check_tensor(tensor: memoryview) -> None:
    dims: list[int] = []
    kind, name = 0, ""
    raw: memoryview | None = None
    listed: list[memoryview] = []
    for number, value in fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 4:
            listed.append(_message(value))
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _message(value)
        elif number == 13 or (number == 14 and value):
            raise ExternalData(f"the weights {name!r} are stored outside the model file; export it as a single file.")
    if any(d < 0 or d > 1 << 31 for d in dims) or math.prod(dims) > MAX_BYTES:
        raise NotAModel(f"the weights {name!r} declare the impossible shape {dims}.")
    if raw is not None and kind in RAW_TYPES:
        size = RAW_TYPES[kind].itemsize
        if len(raw) != math.prod(dims) * size:
            raise NotAModel(f"the weights {name!r} have {len(raw)} bytes, which does not fit their shape {dims}.")
        if not np.isfinite(np.frombuffer(raw, RAW_TYPES[kind])).all():
            raise WeightsNotFinite(f"the weights {name!r} contain NaN or infinity; the model is damaged.")
    for part in listed:
        if len(part) % 4 or not np.isfinite(np.frombuffer(part, "<f4")).all():
            raise WeightsNotFinite(f"the weights {name!r} contain NaN or infinity; the model is damaged.")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value
