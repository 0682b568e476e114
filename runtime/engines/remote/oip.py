"""Messages of the Open Inference Protocol v2 with its binary tensor extension. The engine `remote` sends them and the
service's ``/v2`` accepts them.

A message is a JSON header followed by the bytes of the tensors, little-endian and unpadded, in the order of the header.
An HTTP header gives the length of the JSON. Tensors may also be written as JSON numbers, which is thirty times slower
but easy in a shell script. Sources: kserve/open-inference-protocol, and Triton's ``extension_binary_data.md``.
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
"""Maximum size of the JSON header before binary tensors. A few tensors need far less."""
MAX_RANK = 8
DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
TensorGroup = Literal["inputs", "outputs"]


def datatype(dtype: str) -> str:
    """Return the name of a NumPy dtype in the protocol."""
    return next(name for name, known in DTYPES.items() if known == np.dtype(dtype))


def pack(
    part: TensorGroup,
    header: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    as_json: Sequence[str] = (),
) -> tuple[bytes, int | None]:
    """Return a message and the length of its JSON header. The length is None if the whole message is JSON.

    ``header``: members of the header other than ``part``. ``as_json``: names of the tensors to write as JSON numbers.
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
    """Return the header of a message and its tensors by name. Arrays from binary data are read-only views of ``body``.

    Raises:
        InvalidBatch: the message is invalid. The text says which tensor is wrong and why.
    """
    if header_length is not None and not 0 < header_length <= min(len(body), MAX_HEADER_BYTES):
        raise InvalidBatch(f"{HEADER_LENGTH} is {header_length}, but the body has {len(body)} bytes.")
    head = parse_object(body if header_length is None else body[:header_length])
    entries = head.get(part)
    if not isinstance(entries, list):
        raise InvalidBatch(f"the message has no list of {part}.")
    place = len(body) if header_length is None else header_length
    tensors: dict[str, NDArray[Any]] = {}
    for entry in entries:
        name, dtype, shape = _described(entry, part)
        if name in tensors:
            raise InvalidBatch(f"the tensor {name!r} appears twice.")
        count = math.prod(shape)
        size = (entry.get("parameters") or {}).get("binary_data_size")
        if size is None:
            tensors[name] = _numbers(name, entry.get("data"), dtype, shape, count)
            continue
        if type(size) is not int or size != count * dtype.itemsize:
            raise InvalidBatch(
                f"the tensor {name!r} has binary_data_size {size}; shape {list(shape)} needs {count * dtype.itemsize}."
            )
        if place + size > len(body):
            raise InvalidBatch(f"the body ends within the bytes of {name!r}.")
        tensors[name] = np.frombuffer(body, dtype, count, place).reshape(shape)
        place += size
    if place != len(body):
        raise InvalidBatch(f"{len(body) - place} bytes are left over after the last tensor.")
    return head, tensors


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        InvalidBatch: the data is not a JSON object.
    """
    try:
        found = json.loads(data.decode(ENCODING))
    except (ValueError, RecursionError) as error:
        raise InvalidBatch("the message's JSON cannot be read.") from error
    if not isinstance(found, dict):
        raise InvalidBatch("the message's JSON is not an object.")
    return found


def _described(entry: Any, part: TensorGroup) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    """Return the name, dtype and shape in the header entry of one tensor."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InvalidBatch(f"an entry of {part} has no name.")
    name, kind, shape = entry["name"][:64], entry.get("datatype"), entry.get("shape")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise InvalidBatch(f"the tensor {name!r} has a datatype other than {', '.join(DTYPES)}.")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(v) is int and 0 <= v < 1 << 31 for v in shape)
    ):
        raise InvalidBatch(f"the tensor {name!r} must have a shape of non-negative integers.")
    if entry.get("parameters") is not None and not isinstance(entry["parameters"], dict):
        raise InvalidBatch(f"the tensor {name!r} has parameters that are not an object.")
    return name, DTYPES[kind], tuple(shape)


def _numbers(name: str, data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> NDArray[Any]:
    """Return a tensor from JSON numbers, flat or nested."""
    try:
        found = np.asarray(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBatch(f"the data of the tensor {name!r} has rows of different lengths.") from error
    kinds = "iu" if dtype.kind == "u" else "iuf"
    if found.size != count or found.dtype.kind not in kinds:
        raise InvalidBatch(f"the tensor {name!r} needs exactly {count} numbers of its datatype in data.")
    limits = (0, 255) if dtype.kind == "u" else (-3.4e38, 3.4e38)
    if found.size and not (found.min() >= limits[0] and found.max() <= limits[1]):
        raise InvalidBatch(f"the tensor {name!r} contains a number outside the range of its datatype.")
    return found.astype(dtype).reshape(shape)
