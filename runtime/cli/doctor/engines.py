"""``adsn-doctor``'s checks of interpreter, packages, bundle and engine."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from runtime.bundle.manifest import Bundle, open_bundle
from runtime.cli.doctor.report import Diagnosis
from runtime.core.errors import AdsnError
from runtime.engines.onnx import import_onnxruntime
from runtime.face.open import detector_info, open_detector
from runtime.liveness.open import open_engine


def interpreter() -> Diagnosis:
    version = platform.python_version()
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Diagnosis("warn", "interpreter", f"Python {version} is not tested; use 3.10 to 3.13.")
    return Diagnosis("ok", "interpreter", f"Python {version} on {platform.machine()}")


def int8_arithmetic() -> Diagnosis:
    """Check whether this CPU adds 8-bit products without saturation."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return Diagnosis("ok", "8-bit arithmetic", f"{platform.machine()}: not known to clip.")
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return Diagnosis("warn", "8-bit arithmetic", "the processor's features are unreadable; see the golden vectors.")
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        return Diagnosis("ok", "8-bit arithmetic", "8-bit dot products (VNNI).")
    return Diagnosis("ok", "8-bit arithmetic", "no VNNI: 8-bit weights would clip; the int8-cpu model uses 7 bits.")


def onnx_runtime() -> Diagnosis:
    try:
        version = import_onnxruntime().__version__
    except AdsnError as error:
        return Diagnosis("fail", "ONNX Runtime", str(error))
    if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        return Diagnosis("warn", "ONNX Runtime", f"{version}; telemetry may be on: unset ORT_DISABLE_TELEMETRY.")
    return Diagnosis("ok", "ONNX Runtime", f"{version}, telemetry off")


def optional_packages() -> list[Diagnosis]:
    diagnoses = []
    packages = (
        ("tensorrt", "tensorrt"),
        ("torch", "train"),
        ("mcap", "rig"),
        ("pyrealsense2", "realsense"),
        ("aiomqtt", "kiosk"),
        ("gpiod", "kiosk"),
        ("redis", "redis"),
    )
    for module, extra in packages:
        present = importlib.util.find_spec(module) is not None
        detail = (
            "installed" if present else f"not installed; not needed to serve. To install: pip install 'adsn[{extra}]'"
        )
        diagnoses.append(Diagnosis("ok", module, detail))
    return diagnoses


def face_detector() -> Diagnosis:
    """Check which face detector runs if the settings do not name one."""
    try:
        info = detector_info(open_detector())
    except AdsnError as error:
        return Diagnosis("fail", "face detector", str(error))
    if info.degraded:
        return Diagnosis(
            "warn", "face detector", f"OpenCV's cascade, which misses turned and masked faces. {info.reason}"
        )
    return Diagnosis("ok", "face detector", f"YuNet, SHA-256 {info.sha256}")


def bundle_files(folder: Path) -> tuple[Diagnosis, Bundle | None]:
    try:
        bundle = open_bundle(folder)
        bundle.verify()
    except AdsnError as error:
        return Diagnosis("fail", "bundle", str(error)), None
    manifest = bundle.manifest
    return Diagnosis("ok", "bundle", f"{manifest.name} {manifest.version} in {folder}, digests verified"), bundle


def golden_vectors(bundle: Bundle) -> Diagnosis:
    try:
        engine = open_engine(bundle)
    except AdsnError as error:
        return Diagnosis("fail", "INT8 engine", str(error))
    engine.close()
    return Diagnosis("ok", "INT8 engine", f"{engine.info.backend} reproduces the golden vectors")


def engine_diagnoses(folder: Path) -> list[Diagnosis]:
    """Run the checks of this module, in the order in which problems should be fixed."""
    single: list[Callable[[], Diagnosis]] = [interpreter, int8_arithmetic, onnx_runtime, face_detector]
    diagnoses = [check() for check in single] + optional_packages()
    diagnosis, bundle = bundle_files(folder)
    diagnoses.append(diagnosis)
    if bundle is not None:
        diagnoses.append(golden_vectors(bundle))
    return diagnoses
