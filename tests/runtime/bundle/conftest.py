"""Fixtures: a bundle that tests can change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.liveness.open import default_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped bundle without the large FP32 model."""
    copy = tmp_path / "bundle"
    shutil.copytree(default_bundle(), copy, ignore=shutil.ignore_patterns("model.onnx"))
    return copy
