"""Check output paths, before hours of work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runtime.core.errors import ConfigError


def require_writable_folder(folder: Path, option: str) -> None:
    """Create ``folder`` and check that it is writable.

    Raises:
        ConfigError: the path is not writable. The message names the option.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{option} {folder}: a file, not a folder. Name a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise ConfigError(f"{option} {folder}: cannot be written ({error.strerror}). Name another folder.") from error


def require_writable_file(path: Path | None, option: str) -> None:
    """Check that ``path`` is a writable file path, if one is given.

    Raises:
        ConfigError: the path is not writable. The message names the option.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option} {path}: a folder, not a file. Name a file.")
    require_writable_folder(path.absolute().parent, f"{option} {path}: its folder")
