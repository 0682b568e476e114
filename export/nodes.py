"""Which nodes of an ONNX graph use a tensor."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


def consumers_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    """Return tensor name → the nodes that have it as an input, in graph order."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
