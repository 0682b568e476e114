"""Change bundles like an attacker who has write access to their folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def redigest(folder: Path, role: str, data: bytes) -> None:
    """Replace a file, and update the manifest to match."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(e for e in manifest["files"] if e["role"] == role)
    (folder / entry["path"]).write_bytes(data)
    entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
