"""Messages of the Open Inference Protocol v2 with its binary tensor extension: what `remote` sends and ``/v2`` takes.

A message is a JSON header and, behind it, the tensors' bytes in the order in which the header names them, little-endian
and without padding; an HTTP header says where the JSON ends. Tensors as JSON numbers are read too: thirty times slower,
and what a shell script can write. Source: kserve/open-inference-protocol, and Triton's ``extension_binary_data.md``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.core.errors import InvalidBatch
from runtime.core.user_text import ENCODING

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_HEADER_BYTES = 64 << 10
"""Of the JSON before binary tensors: far more than a few tensors need."""
MAX_RANK = 8
DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
TensorGroup = Literal["inputs", "outputs"]


def datatype(dtype: str) -> str:
    """The protocol's name of a NumPy dtype."""
    return next(name for name, known in DTYPES.items() if known == np.dtype(dtype))


def pack(
    part: TensorGroup,
    header: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    as_json: Sequence[str] = (),
) -> tuple[bytes, int | None]:
    """A message and the length of its JSON, None where it is JSON alone.

    ``header``: the members beside ``part``. ``as_json``: names of tensors to write as numbers.
    """
    entries: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for name, array in tensors.items():
        kind = datatype(str(array.dtype))
        entry: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(array.shape)}
        if name in as_json:
            entry["data"] = array.ravel().tolist()
        else:
            data = np.ascontiguousarray(array, DTYPES[kind]).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            chunks.append(data)
        entries.append(entry)
    text = json.dumps({**header, part: entries}, allow_nan=False).encode()
    return (b"".join((text, *chunks)), len(text)) if chunks else (text, None)


def unpack(part: TensorGroup, body: bytes, header_length: int | None) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header of a message, and its tensors by name; arrays read from bytes are views and not to be written to.

    Raises:
        InvalidBatch: it is no such message; says which tensor is wrong, and how.
    """
    if header_length is not None and not 0 < header_length <= min(len(body), MAX_HEADER_BYTES):
        raise InvalidBatch(f"{HEADER_LENGTH} is {header_length}; the body has {len(body)} bytes.")
    head = parse_object(body if header_length is None else body[:header_length])
    entries = head.get(part)
    if not isinstance(entries, list):
        raise InvalidBatch(f"the message has no list of {part}.")
    place = len(body) if header_length is None else header_length
    tensors: dict[str, NDArray[Any]] = {}
    for entry in entries:
        name, dtype, shape = _described(entry, part)
        if name in tensors:
            raise InvalidBatch(f"the tensor {name!r} comes twice.")
        count = math.prod(shape)
        size = (entry.get("parameters") or {}).get("binary_data_size")
        if size is None:
            tensors[name] = _numbers(name, entry.get("data"), dtype, shape, count)
            continue
        if type(size) is not int or size != count * dtype.itemsize:
            raise InvalidBatch(
                f"the tensor {name!r} has binary_data_size {size}; shape {list(shape)} is {count * dtype.itemsize}."
            )
        if place + size > len(body):
            raise InvalidBatch(f"the body ends before the bytes of {name!r} do.")
        tensors[name] = np.frombuffer(body, dtype, count, place).reshape(shape)
        place += size
    if place != len(body):
        raise InvalidBatch(f"{len(body) - place} bytes are left behind the last tensor.")
    return head, tensors


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidBatch: it is none.
    """
    try:
        found = json.loads(data.decode(ENCODING))
    except (ValueError, RecursionError) as error:
        raise InvalidBatch("the message's JSON cannot be read.") from error
    if not isinstance(found, dict):
        raise InvalidBatch("the message's JSON is not an object.")
    return found


def _described(entry: Any, part: TensorGroup) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    """Name, dtype and shape of one entry."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InvalidBatch(f"an entry of {part} has no name.")
    name, kind, shape = entry["name"][:64], entry.get("datatype"), entry.get("shape")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise InvalidBatch(f"the tensor {name!r} has a datatype that is none of {', '.join(DTYPES)}.")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(v) is int and 0 <= v < 1 << 31 for v in shape)
    ):
        raise InvalidBatch(f"the tensor {name!r} has no shape of whole numbers.")
    if entry.get("parameters") is not None and not isinstance(entry["parameters"], dict):
        raise InvalidBatch(f"the tensor {name!r} has parameters that are no object.")
    return name, DTYPES[kind], tuple(shape)


def _numbers(name: str, data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> NDArray[Any]:
    """A tensor written as JSON numbers, flat or nested."""
    try:
        found = np.asarray(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBatch(f"the data of the tensor {name!r} has rows of different lengths.") from error
    kinds = "iu" if dtype.kind == "u" else "iuf"
    if found.size != count or found.dtype.kind not in kinds:
        raise InvalidBatch(f"the tensor {name!r} needs {count} numbers of its datatype as data.")
    limits = (0, 255) if dtype.kind == "u" else (-3.4e38, 3.4e38)
    if found.size and not (found.min() >= limits[0] and found.max() <= limits[1]):
        raise InvalidBatch(f"the tensor {name!r} holds a number that its datatype does not.")
    return found.astype(dtype).reshape(shape)
