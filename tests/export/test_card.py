"""The model card: its content follows from the manifest alone."""

from __future__ import annotations

import json

from export.card import model_card
from runtime.bundle.manifest import Manifest, open_bundle, parse_manifest
from runtime.liveness.open import default_bundle


def with_mismatches(manifest: Manifest, errors: int) -> Manifest:
    """The manifest of an export that also scored mismatched pairs."""
    data = json.loads(manifest.model_dump_json())
    row = {"errors": errors, "trials": 200, "interval": [0.1, 0.3]}
    for parity in data["parity"]:
        for precision in ("fp32", "int8"):
            parity[precision] = {"apcer.pair_mismatch": row, **parity[precision]}
    return parse_manifest(json.dumps(data).encode(), "test")


def test_mismatched_pairs_are_a_row_where_they_were_scored() -> None:
    manifest = open_bundle(default_bundle()).manifest
    card = model_card(with_mismatches(manifest, 46))
    assert "| APCER pair_mismatch | 23.00% (46/200; 10.00% to 30.00%) | 23.00% (46/200; 10.00% to 30.00%) |" in card
    assert "`pair_mismatch`: a bona fide picture of the set beside another person's" in card


def test_a_manifest_without_them_is_as_valid_and_its_card_is_silent() -> None:
    manifest = open_bundle(default_bundle()).manifest
    data = json.loads(manifest.model_dump_json())
    for parity in data["parity"]:
        for precision in ("fp32", "int8"):
            parity[precision].pop("apcer.pair_mismatch", None)
    card = model_card(parse_manifest(json.dumps(data).encode(), "test"))
    assert "| BPCER |" in card
    assert "pair_mismatch" not in card
