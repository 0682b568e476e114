"""Fixtures of the TensorRT engine's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.build import ExportResult
from export.write import write_bundle
from runtime.bundle.manifest import Bundle, open_bundle
from runtime.engines.tensorrt.cache import EngineCache
from tests.support.models.workshop import built, workshop

__all__ = ["built", "workshop"]


@pytest.fixture(scope="module")
def bundle(built: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(out, built.files, built.manifest)
    return open_bundle(out)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")
