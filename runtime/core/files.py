"""Atomic writes of files and folders."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace the content of the file at ``path`` with ``data``. After a crash either the old file or the new one is
    there, complete.

    ``mode``: permissions of the new file, before the umask.

    Raises:
        OSError: the file cannot be written. The old file is unchanged.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
    try:
        # O_EXCL prevents writing through a link that someone has placed at this path.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


@contextlib.contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Yield an empty private folder next to ``path``. Fill it, then rename it to ``path``.

    If it has not been renamed by the end of the block, it is removed.

    Raises:
        OSError: the parent folder of ``path`` cannot be written.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".new", dir=path.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
