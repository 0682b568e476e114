"""Average of the weights of several checkpoints of one training history ("model soup", Wortsman et al. 2022, arXiv
2203.05482): often as good as the best on every species, where each alone trades one for another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from adsn.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from adsn.network.model import ADSN


def average(paths: Sequence[Path], shares: Sequence[float], out: Path, match_offset: float = 0.0) -> None:
    """Write the average of checkpoints, weighted by ``shares``, with the training record of the first.

    ``match_offset`` is added to the logit that both images show one moment. A negative one accepts fewer mismatched
    pairs at the same BPCER, at the cost of other attacks. Training cannot choose it, because it knows neither how
    frequent each attack is nor the threshold.

    Parameters that only some networks have, those of the comparison of the streams, are averaged over these. Networks
    of unrelated training runs give a useless average, which is not detected: evaluate it.

    Raises:
        CheckpointError: a checkpoint cannot be read, or has another shape than the first, or has no comparison of the
            streams that ``match_offset`` could change.
        ValueError: there are fewer than two checkpoints, or one with a ``match_offset``, or the shares are not one
            positive number for each.
    """
    if len(paths) < (1 if match_offset else 2) or len(shares) != len(paths) or min(shares) <= 0:
        raise ValueError(
            "averaging needs two checkpoints or more, and one positive share for each. A match offset alone needs one."
        )
    networks = [load_checkpoint(path) for path in paths]
    first, record = networks[0]
    for path, (network, _) in zip(paths, networks, strict=True):
        if replace(network.config, match=first.config.match) != first.config:
            raise CheckpointError(f"{path}: a network of another shape ({network.config}) than {paths[0]}'s.")
    states = [network.state_dict() for network, _ in networks]
    merged = ADSN(first.config)
    merged.load_state_dict({name: _mean(name, states, shares) for name in states[0]})
    if match_offset:
        if merged.matching is None:
            raise CheckpointError(f"{paths[0]}: it does not compare its streams; omit the match offset.")
        merged.matching.shift(match_offset)
    averaged = [
        {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "share": share}
        for path, share in zip(paths, shares, strict=True)
    ]
    offset = record.get("match_offset", 0.0) + match_offset
    changed = {"averaged": averaged} if len(paths) > 1 else {}
    if offset:
        changed["match_offset"] = offset
    save_checkpoint(out, merged, {**record, **changed})


def _mean(name: str, states: Sequence[dict[str, Any]], shares: Sequence[float]) -> Tensor:
    held = [(state[name], share) for state, share in zip(states, shares, strict=True) if name in state]
    total = sum(share for _, share in held)
    mean: Tensor = sum(value.float() * (share / total) for value, share in held)
    return mean.to(held[0][0].dtype)
