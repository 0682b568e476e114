"""Migration of manifests from earlier schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.migration import SCHEMA_VERSION, migrate
from runtime.core.errors import ManifestInvalid
from runtime.liveness.open import open_pipeline


def as_schema_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return today's manifest reduced to the fields of schema 1."""
    old: dict[str, Any] = json.loads(json.dumps(manifest)) | {"schema_version": 1}
    old["parity"] = [p for p in old["parity"] if (p["artifact"], p["execution"]) == ("int8-cpu", "served")]
    for entry in old["parity"]:
        del entry["artifact"], entry["execution"]
    for entry in old["files"]:
        entry.pop("float_inputs", None)
    for name in ("species", "seed"):
        old["calibration"].pop(name, None)
    return old


def test_a_bundle_of_schema_1_still_serves(folder: Path) -> None:
    path = folder / "manifest.json"
    now = migrate(json.loads(path.read_text()))
    old = as_schema_1(now)
    assert migrate(old)["parity"][0]["artifact"] == "int8-cpu"
    path.write_text(json.dumps(old))
    loaded = open_pipeline(folder)
    assert loaded.manifest.schema_version == SCHEMA_VERSION
    assert loaded.manifest.parity[0].execution == "served"


def test_the_present_schema_is_left_as_it_is() -> None:
    manifest = {"schema_version": SCHEMA_VERSION, "parity": [1]}
    assert migrate(manifest) is manifest


@pytest.mark.parametrize("version", [0, 3, True, "1", None, 1.0])
def test_unknown_schemas_are_refused(folder: Path, version: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    with pytest.raises(ManifestInvalid, match=r"manifest\.json"):
        open_pipeline(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff\xfe", "NaN", "[]", "3"])
def test_what_is_no_manifest(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestInvalid):
        open_pipeline(folder)
