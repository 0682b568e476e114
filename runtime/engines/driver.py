"""Find GPUs by asking the NVIDIA driver, without any other library.

The driver is queried before any GPU library is used, because without a driver TensorRT 8.6 crashes the process when a
runtime is created, and other libraries raise cryptic errors. ``libcuda.so.1`` is part of the driver and of no package.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from runtime.core.errors import EngineUnavailable

LIBRARY = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. ``capability``: compute capability, e.g. (8, 7). ``driver``: CUDA version of the driver, e.g. 12020."""

    index: int
    name: str
    capability: tuple[int, int]
    driver: int


def find_gpus() -> list[Gpu]:
    """Return the GPUs that the driver reports.

    Raises:
        EngineUnavailable: there is no driver, it cannot be used, or it reports no GPU. The message includes the
            driver's answer.
    """
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise EngineUnavailable(
            f"no NVIDIA driver on this machine ({LIBRARY} cannot be loaded). TensorRT and CUDA need the driver; "
            "the engine onnx-cpu does not."
        ) from error

    def call(function: str, *arguments: Any) -> None:
        code = getattr(cuda, function)(*arguments)
        if code:
            raise EngineUnavailable(
                f"the NVIDIA driver answers {function} with error {code} (CUresult in cuda.h). Check nvidia-smi, and "
                "check that this process may open /dev/nvidia*."
            )

    call("cuInit", 0)
    count, driver = ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    call("cuDriverGetVersion", ctypes.byref(driver))
    gpus = []
    for index in range(count.value):
        handle, text = ctypes.c_int(), ctypes.create_string_buffer(256)
        major, minor = ctypes.c_int(), ctypes.c_int()
        call("cuDeviceGet", ctypes.byref(handle), index)
        call("cuDeviceGetName", text, len(text), handle)
        call("cuDeviceGetAttribute", ctypes.byref(major), CAPABILITY_MAJOR, handle)
        call("cuDeviceGetAttribute", ctypes.byref(minor), CAPABILITY_MINOR, handle)
        gpus.append(Gpu(index, text.value.decode(errors="replace"), (major.value, minor.value), driver.value))
    if not gpus:
        raise EngineUnavailable("the NVIDIA driver reports no GPU. Check nvidia-smi and CUDA_VISIBLE_DEVICES.")
    return gpus
