"""An emulated machine with Debian's kernel, its simulated camera driver, and this machine's files to read.

QEMU without hardware virtualisation, so that it runs wherever the tests do; an initial RAM disk made here of busybox
and a dozen modules; this machine's root file system over 9p, read-only, in which the guest starts the same Python.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "vivid")
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "apt-get": "apt (the kernel comes from Debian)",
    "dpkg-deb": "dpkg",
}
MARK = "ADSN-VM "

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
for module in {modules}; do insmod /modules/$module.ko $(cat /modules/$module.options 2>/dev/null); done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=1048576 host /host || echo "{mark}no host"
mount -t devtmpfs none /host/dev; mount -t proc none /host/proc; mount -t sysfs none /host/sys
mount -t tmpfs none /host/var/tmp
chroot /host /usr/bin/env -i PATH=/usr/bin:/bin HOME=/var/tmp TMPDIR=/var/tmp PYTHONDONTWRITEBYTECODE=1 \\
  PYTHONPATH={repository} OMP_NUM_THREADS=1 {python} -m tests.v4l2_vm.guest 2>&1
echo "{mark}exit $?"
poweroff -f
"""


def missing() -> list[str]:
    """What has to be installed first, as Debian's packages."""
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


def run(repository: Path, cache: Path, timeout_s: float) -> list[dict[str, Any]]:
    """Boot, run `tests.v4l2_vm.guest`, and return its results in order.

    Raises:
        RuntimeError: the machine did not get that far; the message ends in what it printed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    kernel = _kernel(cache)
    image = cache / "initrd.gz"
    _initrd(kernel, image, repository)
    command = [
        "qemu-system-x86_64",
        *("-accel", "tcg", "-cpu", "max", "-m", "1536", "-smp", "2", "-nographic", "-no-reboot"),
        *("-kernel", str(next(kernel.glob("boot/vmlinuz-*"))), "-initrd", str(image)),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
        output = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode("utf-8", "replace") + f"\nstopped after {timeout_s:g} s"
    (cache / "console.log").write_text(output)
    lines = [line.partition(MARK)[2].strip() for line in output.splitlines() if MARK in line]
    results = [json.loads(line) for line in lines if line.startswith("{")]
    if "exit 0" not in lines:
        raise RuntimeError(f"the guest did not finish; its console ({cache / 'console.log'}) ends:\n{output[-4000:]}")
    return results


def _kernel(cache: Path) -> Path:
    """Debian's kernel package, fetched once and unpacked."""
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


def _initrd(kernel: Path, image: Path, repository: Path) -> None:
    paths = {p.stem.replace("-", "_"): p for p in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order = _with_dependencies(paths, MODULES)
    entries: dict[str, tuple[int, bytes]] = {
        name: (stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys", "host", "modules")
    }
    busybox = shutil.which("busybox")
    assert busybox is not None
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    for name in order:
        entries[f"modules/{name}.ko"] = (stat.S_IFREG | 0o644, paths[name].read_bytes())
    # Two cameras of the kind "webcam", each with a metadata node.
    entries["modules/vivid.options"] = (stat.S_IFREG | 0o644, b"n_devs=2 num_inputs=1,1 input_types=0,0")
    script = INIT.format(modules=" ".join(order), mark=MARK, repository=repository, python=sys.executable)
    entries["init"] = (stat.S_IFREG | 0o755, script.encode())
    image.write_bytes(gzip.compress(_cpio(entries), 1))


def _with_dependencies(paths: dict[str, Path], wanted: tuple[str, ...]) -> list[str]:
    """Modules in the order they have to be loaded in. Each names in itself those it needs."""
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
    """An archive in the format "newc" of cpio(5), as the kernel reads it."""
    archive = bytearray()
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def cache_folder() -> Path:
    """Where the kernel is kept between runs: ``ADSN_VM_CACHE``, else in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ADSN_VM_CACHE") or f"{base}/adsn/v4l2-vm")
