"""Describe the machine on which the figures are measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch", "onnx", "fastapi", "uvicorn")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


def describe() -> dict[str, str]:
    """Return the CPU, its relevant instruction sets, the number of cores, and versions."""
    model, flags = platform.machine(), set[str]()
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    model = value.strip()
                if name.strip() in ("flags", "Features"):
                    flags |= set(value.split())
    except OSError:
        pass  # not Linux; use the name of the architecture
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": model,
        "instruction sets": " ".join(name for name in INSTRUCTIONS if name in flags) or "none of those that matter",
        "cores": str(cores),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def has_vnni() -> bool:
    """Return whether the CPU has instructions for 8-bit dot products, which make INT8 more than twice as fast."""
    return any(name in describe()["instruction sets"].split() for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
