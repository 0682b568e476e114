"""Messages of the Open Inference Protocol: packed messages unpack to the same tensors, invalid ones are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.core.errors import InvalidBatch
from runtime.engines.remote.oip import MAX_HEADER_BYTES, pack, unpack


def tensors() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {
        "rgb": rng.integers(0, 256, (2, 4, 4, 3)).astype(np.uint8),
        "depth": rng.random((2, 4, 4, 1)).astype(np.float32),
    }


@pytest.mark.parametrize("as_json", [(), ("rgb",), ("rgb", "depth")])
def test_what_is_packed_is_unpacked(as_json: tuple[str, ...]) -> None:
    body, length = pack("inputs", {"id": "7"}, tensors(), as_json)
    assert (length is None) == (len(as_json) == 2)
    head, found = unpack("inputs", body, length)
    assert head["id"] == "7"
    for name, array in tensors().items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_nested_numbers_are_read_too() -> None:
    entry = {"name": "x", "datatype": "UINT8", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
    _, found = unpack("inputs", json.dumps({"inputs": [entry]}).encode(), None)
    assert found["x"].tolist() == [[1, 2], [3, 4]]


def entry(**changes: Any) -> bytes:
    made = {"name": "x", "datatype": "UINT8", "shape": [2, 2], "data": [1, 2, 3, 4]} | changes
    return json.dumps({"inputs": [{k: v for k, v in made.items() if v is not None}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"inputs": {}}',
        b'{"inputs": [1]}',
        entry(name=None),
        entry(name=7),
        entry(datatype="BYTES"),
        entry(datatype=["UINT8"]),
        entry(shape=[2, 3]),
        entry(shape=[-2, -2]),
        entry(shape=[True, 4]),
        entry(shape="22"),
        entry(shape=[2.0, 2]),
        entry(shape=[1] * 9),
        entry(shape=[1 << 30, 1 << 30, 1 << 30]),
        entry(data=None),
        entry(data=[1, 2, 3]),
        entry(data=[1, 2, 3, 256]),
        entry(data=[1, 2, 3, -1]),
        entry(data=[1, 2, 3, 4.5]),
        entry(data=["1", "2", "3", "4"]),
        entry(data=[[1, 2], [3]]),
        entry(data={"0": 1}),
        entry(datatype="FP32", data=[1, 2, 3, 1e39]),
        entry(datatype="FP32", data=[1, 2, 3, 10**400]),
        entry(parameters=[1]),
        entry(parameters={"binary_data_size": 4}),
        entry(parameters={"binary_data_size": "4"}),
        json.dumps({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "data": [1]}] * 2}).encode(),
        entry() + b"x",
    ],
)
def test_wrong_messages_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidBatch):
        unpack("inputs", body, None)


def test_lengths_must_agree() -> None:
    body, length = pack("inputs", {}, tensors())
    assert length is not None
    for wrong_body, wrong_length in (
        (body[:-1], length),
        (body + b"x", length),
        (body, length - 1),
        (body, length + 1),
        (body, 0),
        (body, len(body) + 1),
        (b" " * (MAX_HEADER_BYTES + 1) + body, MAX_HEADER_BYTES + 1 + length),
    ):
        with pytest.raises(InvalidBatch):
            unpack("inputs", wrong_body, wrong_length)


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 250)))
def test_rubbish_never_ends_otherwise(body: bytes, length: int | None) -> None:
    with pytest.raises(InvalidBatch):
        unpack("inputs", body, length)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda s: st.lists(s, max_size=3)))
def test_no_data_ends_otherwise(data: Any) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": data}]}).encode()
    try:
        _, found = unpack("inputs", body, None)
    except InvalidBatch:
        return
    assert found["x"].shape == (2, 2)
