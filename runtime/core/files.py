"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace ``path`` by a file of ``data``; a crash leaves the old file or the new one, never half of one.

    ``mode``: permissions of the new file, less the umask.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
    try:
        # O_EXCL follows no link that somebody else may have put there.
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
    """Yield an empty folder, its owner's alone, beside ``path``: fill it, then rename it to ``path``.

    What was not renamed is removed at the end of the block.

    Raises:
        OSError: the folder around ``path`` cannot be written.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".new", dir=path.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
