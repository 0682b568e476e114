"""Migration of manifests from earlier schemas to the current one.

No value is guessed: a field that the old schema lacks gets the value that the old version always used.
"""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 2


def _from_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """Migrate schema 1, in which the only INT8 artifact was the one for CPUs, measured as served."""
    parity = [{"artifact": "int8-cpu", "execution": "served", **entry} for entry in manifest.get("parity", [])]
    return {**manifest, "schema_version": 2, "parity": parity}


STEPS = {1: _from_1}


def migrate(manifest: Any) -> Any:
    """Return ``manifest`` (parsed JSON) migrated to the current schema.

    A manifest of an unknown schema is returned unchanged; the caller's validation refuses it.
    """
    while isinstance(manifest, dict) and type(version := manifest.get("schema_version")) is int and version in STEPS:
        manifest = STEPS[version](manifest)
    return manifest
