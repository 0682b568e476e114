"""Write a bundle safely: write a draft, verify it by loading and running it, and exchange it with the old bundle."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.card import model_card
from export.errors import ExportError
from runtime.bundle.manifest import MANIFEST, open_bundle
from runtime.bundle.signature import SIGNATURE, sign_manifest
from runtime.core.files import draft_folder, write_atomically
from runtime.liveness.open import open_engine

CARD = "MODEL_CARD.md"
ROLES = {
    "checkpoint.safetensors": ("checkpoint", True),
    "model.onnx": ("model-fp32", False),
    "model.int8-cpu.onnx": ("model-int8-cpu", True),
    "model.int8-trt.onnx": ("model-int8-trt", False),
    "model.int8-trt11.onnx": ("model-int8-trt11", False),
    "ranges.json": ("ranges", True),
    "golden.npz": ("golden", True),
}
"""File name → role, and whether the file is part of the repository."""


FLOAT_INPUTS = frozenset({"model-int8-trt", "model-int8-trt11"})


def write_bundle(out: Path, files: dict[str, bytes], manifest: dict[str, Any], private_key: Path | None = None) -> None:
    """Write a bundle to ``out``. An existing bundle is replaced only after the new one has been loaded and run.

    The model card is generated from the manifest. Other files in the folder are kept, except artifacts and the
    signature of the old bundle. ``private_key`` (Ed25519, PEM): key with which to sign the manifest.

    Raises:
        ExportError: the folder cannot be written, another export is writing it, or ``out`` is not a bundle.
        BundleError, EngineError: the new bundle cannot be loaded. The old one stays.
        ConfigError: the key cannot be used.
    """
    with only_writer(out):
        _write_bundle(out, files, manifest, private_key)


def require_writable(out: Path) -> None:
    """Check, before minutes of work, that a bundle can be written to ``out``.

    Raises:
        ExportError: ``out`` exists and is not a bundle, or its parent folder cannot be written.
    """
    with only_writer(out):
        _require_bundle_or_nothing(out)


def _require_bundle_or_nothing(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).exists())):
        raise ExportError(f"{out} exists and is not a bundle (it has no {MANIFEST}); choose another --out.")


@contextlib.contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Lock ``out`` against other exports, and remove drafts that interrupted exports have left next to it.

    Raises:
        ExportError: another export is writing ``out``, or its parent folder cannot be written.
    """
    lock = out.with_name(f".{out.name}.lock")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ExportError(f"{out.parent} cannot be written: {error.strerror}. Choose another --out.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.fstat(handle).st_ino == os.stat(lock).st_ino
        except OSError:
            ours = False
        if not ours:
            raise ExportError(f"{out}: another export is writing this bundle; wait until it has finished.")
        try:
            for left in out.parent.glob(f".{out.name}-*.new"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            # Remove the lock file while it is locked. An export that has already opened it notices, in the check above,
            # that it is gone.
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _write_bundle(out: Path, files: dict[str, bytes], manifest: dict[str, Any], private_key: Path | None) -> None:
    _require_bundle_or_nothing(out)
    entries = [
        {
            "role": ROLES[name][0],
            "path": name,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "shipped": ROLES[name][1],
            "float_inputs": ROLES[name][0] in FLOAT_INPUTS,
        }
        for name, data in files.items()
    ]
    manifest = {**manifest, "files": entries}
    text = (json.dumps(manifest, indent=1) + "\n").encode()
    written = {**files, MANIFEST: text}
    if private_key is not None:
        written[SIGNATURE] = sign_manifest(text, private_key)
    try:
        with draft_folder(out) as draft:
            draft.chmod(0o755)
            for name, data in written.items():
                write_atomically(draft / name, data)
            bundle = open_bundle(draft)
            bundle.verify()
            write_atomically(draft / CARD, model_card(bundle.manifest).encode())
            open_engine(bundle, precision="fp32").close()
            open_engine(bundle, precision="int8").close()
            if out.exists():
                for path in out.iterdir():
                    kept = path.name not in {*ROLES, SIGNATURE} and path.is_file() and not path.is_symlink()
                    if kept and not (draft / path.name).exists():
                        shutil.copy2(path, draft / path.name)
            _swap(draft, out)
    except OSError as error:
        raise ExportError(
            f"{out}: writing failed: {error.strerror or error}. An existing bundle is unchanged."
        ) from error


def _swap(new: Path, out: Path) -> None:
    """Exchange ``new`` and ``out`` in one step, so that ``out`` is complete at all times.

    If the file system cannot exchange two folders, the old one is named ``.NAME.old`` for a moment.
    """
    if not out.exists():
        os.rename(new, out)
        return
    if exchange(new, out):
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


def exchange(a: Path, b: Path) -> bool:
    """Exchange two paths atomically with renameat2(2) of Linux. Return False if that is not available."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return int(call(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)) == 0
