"""Mitsuba 3, located on first use; a missing part is reported in one line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Band = Literal["rgb", "ir"]
LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
LLVM_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/llvm-{0}/lib")
LLVM_VERSIONS = (20, 19, 18, 17, 16)
"""LLVM 14 and 15 compile wrong code for processors with AVX512-FP16."""
MODES = ("cuda_ad", "llvm_ad", "scalar")
COLOURS: dict[Band, str] = {"rgb": "rgb", "ir": "mono"}
MODE_VARIABLE = "ADSN_RENDER"
UNUSED = ("mitsuba.python.ad.integrators", "mitsuba.python.ad.loaders")


class RenderError(RuntimeError):
    """Path tracing is not possible on this machine as requested."""


def find_llvm() -> Path | None:
    """Return the newest LLVM library that works, or None."""
    for version in LLVM_VERSIONS:
        for folder in LLVM_FOLDERS:
            for name in (f"libLLVM-{version}.so", f"libLLVM.so.{version}.1", f"libLLVM.so.{version}"):
                found = Path(folder.format(version)) / name
                if found.exists():
                    return found
    return None


@functools.cache
def mitsuba() -> Any:
    """Return the module mitsuba.

    Raises:
        RenderError: it is not installed; the message says what to install.
    """
    if LLVM_VARIABLE not in os.environ:
        found = find_llvm()
        if found is not None:
            os.environ[LLVM_VARIABLE] = str(found)
    _skip_python_integrators()
    try:
        import mitsuba as mi
    except ImportError as error:
        raise RenderError(f"path tracing needs Mitsuba 3: pip install 'adsn[render]' ({error}).") from error
    return mi


class _Empty(MetaPathFinder, Loader):
    """Finds the Python parts of Mitsuba that this renderer has no use for, and loads nothing for them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in UNUSED else None

    def exec_module(self, module: ModuleType) -> None:
        pass


def _skip_python_integrators() -> None:
    """Keep Mitsuba from loading its differentiable integrators.

    It compiles them again at every change of variant: 63 ms, several times a pair, against 0.3 ms without them.
    """
    if not any(isinstance(finder, _Empty) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Empty())


@functools.cache
def mode() -> str:
    """Return Mitsuba's compute mode: ``ADSN_RENDER`` if set, else the first of CUDA, LLVM and plain C++ that works.

    Raises:
        RenderError: the environment variable names a mode that does not work on this machine.
    """
    mi = mitsuba()
    asked = os.environ.get(MODE_VARIABLE)
    if asked is not None and asked not in MODES:
        raise RenderError(f"{MODE_VARIABLE}={asked}: not a mode; there are {', '.join(MODES)}.")
    reasons = []
    for candidate in (asked,) if asked else MODES:
        if all(f"{candidate}_{colour}" in mi.variants() for colour in COLOURS.values()):
            reason = _trial(mi, candidate)
            if reason is None:
                return candidate
            reasons.append(f"{candidate}: {reason}")
    raise RenderError(
        "Mitsuba cannot compute here ("
        + ("; ".join(reasons) or "its build has none of the variants")
        + "). On a CPU it "
        f"needs LLVM 16 or newer: apt install libllvm19, or name the library in {LLVM_VARIABLE}."
    )


def _trial(mi: Any, candidate: str) -> str | None:
    """Return why a mode does not work, or None."""
    try:
        mi.set_variant(f"{candidate}_mono")
        if candidate != "scalar":
            import drjit as dr

            dr.eval(mi.Float([1.0, 2.0]) + 1)
    except Exception as error:  # Whatever a driver or a compiler does, the next mode is tried.
        return str(error).strip().splitlines()[0][:200]
    return None


def select(band: Band) -> Any:
    """Switch to a band and return the module mitsuba.

    Raises:
        RenderError: Mitsuba is missing or works in no mode.
    """
    mi = mitsuba()
    mi.set_variant(f"{mode()}_{COLOURS[band]}")
    return mi
