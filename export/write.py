"""Writing a bundle so that a good one is never lost: beside, verified by loading and running, then swapped."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from export.card import model_card
from export.errors import ExportError
from runtime.assemble import open_engine
from runtime.bundle import MANIFEST, open_bundle

CARD = "MODEL_CARD.md"
ROLES = {
    "checkpoint.safetensors": ("checkpoint", True),
    "model.onnx": ("model-fp32", False),
    "model.int8-cpu.onnx": ("model-int8-cpu", True),
    "ranges.json": ("ranges", True),
    "golden.npz": ("golden", True),
}
"""File name → role and whether the repository ships it."""


def write_bundle(out: Path, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Write a whole bundle to ``out``, replacing what is there only after the new one has loaded and run.

    The model card is written from the manifest. Other files that a person keeps in the folder are carried over.

    Raises:
        ExportError: the folder cannot be written, or ``out`` holds something that is no bundle.
        BundleError, EngineError: the new bundle does not load; the old one stays.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).exists():
        raise ExportError(f"{out} exists and is no bundle (it has no {MANIFEST}); choose another --out.")
    entries = [
        {
            "role": ROLES[name][0],
            "path": name,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "shipped": ROLES[name][1],
        }
        for name, data in files.items()
    ]
    manifest = {**manifest, "files": entries}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise ExportError(f"{out.parent} cannot be written: {error.strerror}. Choose another --out.") from error
    try:
        beside.chmod(0o755)
        for name, data in {**files, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()}.items():
            _write(beside / name, data)
        bundle = open_bundle(beside)
        bundle.verify()
        _write(beside / CARD, model_card(bundle.manifest).encode())
        open_engine(bundle, precision="fp32").close()
        open_engine(bundle, precision="int8").close()
        if out.exists():
            for path in out.iterdir():
                if not (beside / path.name).exists() and path.is_file() and not path.is_symlink():
                    shutil.copy2(path, beside / path.name)
        _swap(beside, out)
    except OSError as error:
        raise ExportError(
            f"{out}: writing failed: {error.strerror or error}. The old bundle, if any, is whole."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(new: Path, out: Path) -> None:
    """Put ``new`` in ``out``'s place in one step, so that ``out`` is whole at every moment; ``new`` is what was there.

    Where the file system cannot exchange two folders, the old one is whole under ``.NAME.old`` for a moment.
    """
    if not out.exists():
        os.rename(new, out)
        return
    if _exchange(new, out):
        return
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(out, old)
    try:
        os.rename(new, out)
    except OSError:
        os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


AT_FDCWD = -100
RENAME_EXCHANGE = 2


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two paths atomically with renameat2(2) of Linux; False where it is not to be had."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return int(call(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)) == 0
