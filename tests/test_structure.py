"""Sizes of functions and folders, and what tests may import."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("adsn", "benchmarks", "calib", "docs", "export", "runtime", "service", "synthetic", "tests")
LINES = 60
MODULES = 20


def modules() -> Iterator[Path]:
    """Yield every Python module of the project."""
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_are_short(folder: str) -> None:
    found = [path for path in modules() if path.relative_to(ROOT).parts[0] == folder]
    assert found
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in found
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno >= LINES
    ]
    assert not long


def test_folders_are_small() -> None:
    counts = Counter(
        path.parent.relative_to(ROOT) for path in modules() if path.name not in ("__init__.py", "__main__.py")
    )
    assert max(counts.values()) > 10
    assert not [str(folder) for folder, count in counts.items() if count > MODULES]


def test_tests_import_helpers_from_support_alone() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules() if path.name.startswith("test_")
    }
    assert names
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(path)
        if name in names or name.rpartition(".")[0] in names
    }
    assert not wrong
