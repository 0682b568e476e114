"""Cache of built engines in a private folder, so that a start takes seconds instead of minutes.

An engine is valid for one model on one GPU with one version of TensorRT and of the driver. A sidecar file records
everything that the engine depends on, and the digest of its bytes. Engines are executable code, so files that another
user could have written are never read. If a stored engine does not match, it is built again and the reason is logged.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from runtime.core.errors import ConfigError
from runtime.core.files import write_atomically

SIDECAR_SCHEMA = 1
L4T_RELEASE = Path("/etc/nv_tegra_release")
MAX_SIDECAR_BYTES = 1 << 20


def default_folder() -> Path:
    """Return the folder named by ``ADSN_ENGINE_CACHE``, by default one in the user's cache folder.

    Raises:
        ConfigError: the variable is not set and the user has no home directory.
    """
    named = os.environ.get("ADSN_ENGINE_CACHE")
    if named:
        return Path(named)
    try:
        return Path(user_cache_dir("adsn")) / "engines"
    except RuntimeError as error:
        raise ConfigError("this user has no home directory. Set ADSN_ENGINE_CACHE to a folder for engines.") from error


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that a built engine depends on.

    ``platform``: CUDA version of the driver and, on Jetson, the L4T release.
    """

    model_sha256: str
    tensorrt: str
    gpu: str
    capability: str
    platform: str
    precision: str
    profile: str
    flags: str

    def digest(self) -> str:
        """Return the base name of the engine's files: 32 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def platform_of(driver: int, release: Path = L4T_RELEASE) -> str:
    """Return the CUDA version of the driver and, on Jetson, the L4T release."""
    try:
        l4t = release.read_text(errors="replace").splitlines()[0].strip()
    except (OSError, IndexError):
        l4t = ""
    return f"driver {driver}" + (f", {l4t}" if l4t else "")


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """Result of a look-up. ``plan``: bytes of the engine, or None. ``reason``: why the engine must be built if there is
    none."""

    plan: bytes | None
    reason: str = ""


class EngineCache:
    """Cache of engines in ``folder`` (mode 0700, owned by this user), by default `default_folder`.

    Raises:
        ConfigError: the folder cannot be created or written, or other users can write to it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            facts = os.stat(self.folder, follow_symlinks=False)
        except OSError as error:
            raise ConfigError(f"{self.folder}: the engine cache cannot be created: {error.strerror}.") from error
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise ConfigError(
                f"{self.folder}: not a folder that only this user can write. Engines are executable code. Run chown "
                f"{os.getuid()} and chmod 700 on it, or set ADSN_ENGINE_CACHE to another folder."
            )
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.folder}: the engine cache cannot be written; set ADSN_ENGINE_CACHE to another.")

    def plan_path(self, key: EngineKey) -> Path:
        return self.folder / f"{key.digest()}.plan"

    def find(self, key: EngineKey) -> CacheLookup:
        """Look up the engine for ``key``. Never raises: the result for an engine that cannot be used has no plan."""
        plan, sidecar = self.plan_path(key), self.plan_path(key).with_suffix(".json")
        try:
            described = json.loads(_read_own(sidecar, MAX_SIDECAR_BYTES))
            if described["schema"] != SIDECAR_SCHEMA or described["key"] != asdict(key):
                return CacheLookup(None, f"{sidecar.name} describes another engine")
            data = _read_own(plan, int(described["size"]))
            if len(data) != described["size"] or hashlib.sha256(data).hexdigest() != described["sha256"]:
                return CacheLookup(None, f"{plan.name} does not match its sidecar; it is damaged or truncated")
        except FileNotFoundError as error:
            return CacheLookup(None, f"{Path(str(error.filename)).name} does not exist")
        except (OSError, ValueError, KeyError, TypeError) as error:
            return CacheLookup(None, f"{plan.name} cannot be read: {error}")
        return CacheLookup(data)

    def store(self, key: EngineKey, plan: bytes, facts: Mapping[str, Any]) -> Path:
        """Store an engine and return its path. ``facts``: further entries for its sidecar file (build time, layers).

        Raises:
            ConfigError: the folder cannot be written.
        """
        path = self.plan_path(key)
        sidecar = {
            "schema": SIDECAR_SCHEMA,
            "key": asdict(key),
            "size": len(plan),
            "sha256": hashlib.sha256(plan).hexdigest(),
            **facts,
        }
        # Write the engine first, so that a sidecar never describes a missing file.
        self.write(path, plan)
        self.write(path.with_suffix(".json"), json.dumps(sidecar, indent=1).encode() + b"\n")
        return path

    def read_timing(self, key: EngineKey) -> bytes:
        """Return the timing cache for the device and version in ``key``, or empty bytes."""
        try:
            return _read_own(self._timing_path(key), 256 << 20)
        except OSError:
            return b""

    def write_timing(self, key: EngineKey, data: bytes) -> None:
        """Store a timing cache for the next build on this device."""
        self.write(self._timing_path(key), data)

    def _timing_path(self, key: EngineKey) -> Path:
        text = json.dumps([key.tensorrt, key.gpu, key.capability, key.platform])
        return self.folder / f"timing-{hashlib.sha256(text.encode()).hexdigest()[:16]}.cache"

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the cache atomically."""
        try:
            write_atomically(path, data, mode=0o600)
        except OSError as error:
            raise ConfigError(f"{path}: the engine cannot be stored: {error.strerror or error}.") from error

    @contextlib.contextmanager
    def only_builder(self, key: EngineKey) -> Iterator[None]:
        """Hold the lock for building this engine, so that two processes that start together build it only once."""
        handle = os.open(self.folder / f"{key.digest()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _read_own(path: Path, limit: int) -> bytes:
    """Return the bytes of a plain file that this user owns and that no other user can write."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise PermissionError(f"{path.name} is not a plain file that only this user can write")
        return file.read(limit + 1)
