"""Create a clean Debian root, and run commands in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.machines.dockerfile import ROOT

SHIPPED = "pyproject.toml README.md LICENSE adsn calib deploy export models requirements runtime service synthetic"
PACKAGES = "python3,python3-venv,ca-certificates,systemd,udev"


def inside(root: Path, command: str, code: int = 0, **environment: str) -> str:
    """Run a shell command in the root, as RUN does, and return its output. ``code``: required exit code."""
    known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment}
    known |= {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    done = subprocess.run(["chroot", str(root), "/bin/sh", "-ec", command], env=known, capture_output=True, text=True)
    assert done.returncode == code, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@contextmanager
def debian(made: Path, *more: str) -> Iterator[Path]:
    """Create a clean root in ``made``, an empty or new folder, with Python, systemd, ``more`` packages, and access to
    the package index."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap")
    # The folder becomes "/" for a different account, so it must be accessible.
    made.mkdir(exist_ok=True)
    made.chmod(0o755)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join([PACKAGES, *more])}", "bookworm", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    # Copy this machine's access to its package index into the root: host names, pip configuration, certificates.
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), made / name)
    mounted = []
    try:
        for name in ("proc", "dev", *[m for m in os.environ.get("ADSN_TEST_MOUNTS", "").split(":") if m]):
            place = made / name.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", f"/{name.lstrip('/')}", str(place)], check=True)
            mounted.append(place)
        yield made
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", "-l", str(place)], check=True)


def checkout(root: Path) -> None:
    """Copy the sources that ``deploy/install.sh`` needs to ``/src`` in the root."""
    source = root / "src"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "model.onnx", "model.int8-trt*")
    for name in SHIPPED.split():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, source / name)
