"""The public names of every package of runtime: listed, defined, and imported on first use."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import runtime

# The model shipped in a wheel is in a package without modules.
PACKAGES = sorted(
    {"runtime"} | {m.name for m in pkgutil.walk_packages(runtime.__path__, "runtime.") if m.ispkg} - {"runtime.bundled"}
)


def test_the_packages_are_found() -> None:
    assert {"runtime.core", "runtime.capture.v4l2", "runtime.liveness"} <= set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_listed_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    listed = package.__all__
    assert len(listed) == len(set(listed))
    for public in listed:
        value = getattr(package, public)
        # Once a module of the same name is imported, it would be found instead.
        assert not isinstance(value, ModuleType), f"{name}.{public} is a module"
        assert not public.startswith("_") or public == "__version__"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match=r"'runtime\.core' has no attribute 'unheard_of'"):
        importlib.import_module("runtime.core").unheard_of  # noqa: B018


def test_importing_every_package_loads_nothing_heavy() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {PACKAGES!r}: importlib.import_module(name)\n"
        "print(sorted({'numpy', 'cv2', 'pydantic', 'onnxruntime', 'typer', 'synthetic'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
