"""Manifests of earlier schemas, brought to the present one. Nothing is guessed: what the old schema left unsaid is said
as what that version always did."""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 2


def _from_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 knew one 8-bit artifact, for processors, and measured it as it is served."""
    parity = [{"artifact": "int8-cpu", "execution": "served", **entry} for entry in manifest.get("parity", [])]
    return {**manifest, "schema_version": 2, "parity": parity}


STEPS = {1: _from_1}


def migrate(manifest: Any) -> Any:
    """``manifest`` as parsed JSON, in the present schema where its own is an earlier known one; else as it is, for the
    caller's validation to refuse."""
    while isinstance(manifest, dict) and type(version := manifest.get("schema_version")) is int and version in STEPS:
        manifest = STEPS[version](manifest)
    return manifest
