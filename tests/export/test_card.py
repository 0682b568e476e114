"""The model card: its content depends only on the manifest."""

from __future__ import annotations

import json
from typing import Any

from export.card import model_card
from runtime.bundle.manifest import Manifest, open_bundle, parse_manifest
from runtime.liveness.open import default_bundle

MISMATCHED = "apcer.pair_mismatch"


def without_mismatches() -> dict[str, Any]:
    """Return the shipped manifest as an export without mismatched pairs would write it."""
    data: dict[str, Any] = json.loads(open_bundle(default_bundle()).manifest.model_dump_json())
    for parity in data["parity"]:
        for rates in (parity["fp32"], parity["int8"], *parity["int8_parts"].values()):
            rates.pop(MISMATCHED, None)
    return data


def manifest_of(data: dict[str, Any]) -> Manifest:
    return parse_manifest(json.dumps(data).encode(), "test")


def test_mismatched_pairs_are_a_row_where_they_were_scored() -> None:
    data = without_mismatches()
    for parity in data["parity"]:
        for precision in ("fp32", "int8"):
            parity[precision][MISMATCHED] = {"errors": 46, "trials": 200, "interval": [0.1, 0.3]}
    card = model_card(manifest_of(data))
    assert "| APCER pair_mismatch | 23.00% (46/200; 10.00% to 30.00%) | 23.00% (46/200; 10.00% to 30.00%) |" in card
    assert "`pair_mismatch`: a bona fide picture of the set beside another person's" in card


def test_a_manifest_without_them_is_as_valid_and_its_card_is_silent() -> None:
    card = model_card(manifest_of(without_mismatches()))
    assert "| BPCER |" in card
    assert "pair_mismatch" not in card


def test_the_card_says_whether_weights_were_averaged_compared_or_brightened() -> None:
    data = without_mismatches()
    training = data["training"]
    training["averaged"] = [{"sha256": "0" * 64, "share": 0.75}, {"sha256": "1" * 64, "share": 0.25}]
    training["recipe"]["network"].update(match=16, ir_level=48)
    training["match_offset"] = -1.5
    card = model_card(manifest_of(data))
    assert "the average of 2 checkpoints of this training history, with shares of 0.75, 0.25" in card
    assert "both images show one moment. -1.5 is added to the logit of the second" in card
    assert "An IR crop whose mean is below 48 is brightened to it inside the graph, by a factor of at most 4." in card
    del training["averaged"], training["match_offset"]
    training["recipe"]["network"].update(match=0, ir_level=0)
    plain = model_card(manifest_of(data))
    assert "average of" not in plain
    assert "both images show one moment" not in plain
    assert "brightened" not in plain
