"""Public names of each service package: its ``__all__``, and no imports that would slow down --lock-door."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import FunctionType, GenericAlias

import pytest

import service

PACKAGES = ["service", *(f"service.{m.name}" for m in pkgutil.iter_modules(service.__path__) if m.ispkg)]


def test_there_are_packages() -> None:
    assert len(PACKAGES) >= 13


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_offers(name: str) -> None:
    package = importlib.import_module(name)
    offered: list[str] = package.__all__
    assert offered == sorted(set(offered), key=lambda one: (not one.isupper(), not one[0].isupper(), one))
    for one in offered:
        # Check only the names defined in this package. Those of other packages are imported from there.
        value = getattr(package, one)
        # In Python 3.10 an alias such as Callable[[X], None] counts as a class.
        defined = isinstance(value, type | FunctionType) and not isinstance(value, GenericAlias)
        assert value.__module__.startswith(name) if defined else value is not None
    public = {
        one
        for one, value in vars(package).items()
        if not one.startswith("_") and isinstance(value, type | FunctionType)
    }
    assert public <= set(offered)


def test_what_locks_a_door_waits_for_no_framework() -> None:
    code = "import service.kiosk.cli, sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    heavy = {"fastapi", "starlette", "uvicorn", "cv2", "numpy", "prometheus_client", "onnxruntime"}
    assert not heavy & set(done.stdout.split())
