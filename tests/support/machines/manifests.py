"""Read the Kubernetes manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"


def documents(path: Path) -> list[dict[str, Any]]:
    """Return all documents in a file."""
    found: list[dict[str, Any]] = [document for document in yaml.safe_load_all(path.read_text()) if document]
    return found


def resources(overlay: str = "base") -> list[dict[str, Any]]:
    """Return the resources that a kustomization applies, each with its file, before kustomize edits them."""
    (kustomization,) = documents(FOLDER / overlay / "kustomization.yaml")
    found: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = (FOLDER / overlay / name).resolve()
        found += resources(path.name) if path.is_dir() else documents(path)
    return found


def one(kind: str, overlay: str = "base") -> dict[str, Any]:
    """Return the only resource of the given kind."""
    (found,) = [resource for resource in resources(overlay) if resource["kind"] == kind]
    return found
