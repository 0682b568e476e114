"""Run emulated machines with Debian's kernel, which is downloaded once, and an initial RAM disk with the modules that a
test needs.

QEMU runs without hardware virtualisation, so this works wherever the tests do.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "apt-get": "apt (the kernel comes from Debian)",
    "dpkg-deb": "dpkg",
}
MARK = "ADSN-VM "
"""Prefix of the lines from the guest that the host reads. Each contains a JSON object; the last one is ``exit
CODE``."""


def missing_programs() -> list[str]:
    """Return the missing programs, as Debian package names."""
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


def debian_kernel(cache: Path) -> Path:
    """Return the folder of Debian's unpacked kernel package. It is downloaded once."""
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = cache / "kernel"
    if not unpacked.is_dir():
        shown = subprocess.run(
            ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
        )
        found = re.search(r"Depends: (linux-image-\S+)", shown.stdout)
        if found is None:
            raise RuntimeError("apt knows no linux-image-amd64; run apt-get update first.")
        subprocess.run(["apt-get", "download", "-q", found[1]], cwd=cache, check=True, capture_output=True)
        package = next(cache.glob(f"{found[1]}_*.deb"))
        temporary = cache / "unpacking"
        shutil.rmtree(temporary, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", str(package), str(temporary)], check=True)
        temporary.rename(unpacked)
        package.unlink()
    return unpacked


def initrd(kernel: Path, image: Path, modules: tuple[str, ...], options: dict[str, str], script: str) -> None:
    """Write an initial RAM disk: busybox, ``modules`` with their dependencies and options, and ``/init``.

    ``{modules}`` in the script stands for their names in loading order.
    """
    paths = {p.stem.replace("-", "_"): p for p in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order = _with_dependencies(paths, modules)
    entries: dict[str, tuple[int, bytes]] = {
        name: (stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys", "host", "modules")
    }
    busybox = shutil.which("busybox")
    assert busybox is not None
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    for name in order:
        entries[f"modules/{name}.ko"] = (stat.S_IFREG | 0o644, paths[name].read_bytes())
    for name, text in options.items():
        entries[f"modules/{name}.options"] = (stat.S_IFREG | 0o644, text.encode())
    entries["init"] = (stat.S_IFREG | 0o755, script.replace("{modules}", " ".join(order)).encode())
    image.write_bytes(gzip.compress(_cpio(entries), 1))


def boot(kernel: Path, image: Path, more: list[str], log: Path, timeout_s: float) -> list[dict[str, Any]]:
    """Run a machine with two CPUs until it switches itself off, and return the output of the guest after `MARK`.

    Raises:
        RuntimeError: the guest did not end with ``exit 0``. The message contains the end of the console output; ``log``
            contains all of it.
    """
    command = [
        "qemu-system-x86_64",
        *("-accel", "tcg", "-cpu", "max", "-m", "1536", "-smp", "2", "-nographic", "-no-reboot"),
        *("-kernel", str(next(kernel.glob("boot/vmlinuz-*"))), "-initrd", str(image), *more),
    ]
    note = ""
    # Write directly to the file, so that the output can be followed.
    with log.open("wb") as console:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            note = f"\nstopped after {timeout_s:g} s"
    output = log.read_text("utf-8", "replace") + note
    lines = [line.partition(MARK)[2].strip() for line in output.splitlines() if MARK in line]
    results = [json.loads(line) for line in lines if line.startswith("{")]
    if "exit 0" not in lines:
        raise RuntimeError(f"the guest did not finish; its console ({log}) ends:\n{output[-4000:]}")
    return results


def _with_dependencies(paths: dict[str, Path], wanted: tuple[str, ...]) -> list[str]:
    """Return the names of modules and their dependencies in loading order. Each module file lists its dependencies."""
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in paths:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + paths[name].read_bytes())
        for other in (found[1].decode() if found else "").split(","):
            add(other.replace("-", "_"))
        order.append(name)

    for name in wanted:
        add(name)
    return order


def _cpio(entries: dict[str, tuple[int, bytes]]) -> bytes:
    """Return an archive in cpio(5) format "newc", as the kernel reads it."""
    archive = bytearray()
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def cache_folder() -> Path:
    """Return the folder in which the kernel is kept between runs: ``ADSN_VM_CACHE``, or else one in the user's
    cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ADSN_VM_CACHE") or f"{base}/adsn/vm")
