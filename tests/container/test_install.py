"""``deploy/install.sh`` in a clean Debian root: install, run, upgrade, refuse and remove. Part of ``make
test-container``.

The units are not tested under a running systemd, because a root folder has none.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.debian import checkout, debian, inside

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]
PORT = 18644
INSTALL = "sh /src/deploy/install.sh"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with debian(tmp_path_factory.mktemp("root")) as made:
        checkout(made)
        yield made


def state(root: Path) -> dict[str, str]:
    """Return path → description for all files of the installer, without the contents of a release."""
    listed = inside(
        root, "find /opt /etc/adsn /etc/systemd/system/adsn* /etc/udev/rules.d -maxdepth 2 -printf '%p %M %u:%g\\n'"
    )
    return dict(line.split(" ", 1) for line in listed.splitlines())


def serve(root: Path) -> None:
    """Run the command of the unit under its account, and send a request."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ADSN_PORT": str(PORT), "ADSN_ENGINE_CACHE": "/tmp/engines"}
    who = inside(root, "id -u adsn; id -g adsn").split()
    command = ["chroot", f"--userspec={who[0]}:{who[1]}", str(root), "/opt/adsn/bin/adsn-serve"]
    server = subprocess.Popen([*command, "--config", "/etc/adsn/serve.toml"], env=environment)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/info", timeout=2) as answer:
                    assert json.load(answer)["model"]["name"] == "adsn-rgb-ir"
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        server.terminate()
        server.wait(20)


def test_it_installs_upgrades_refuses_and_removes(root: Path) -> None:
    before = inside(root, "find /opt /etc /var/lib -newermt @0 -printf '%p\\n' | sort")
    # Empty except for ADSN_TEST_MOUNTS.
    opt = inside(root, "ls /opt")
    inside(root, f"{INSTALL} --dry-run")
    assert inside(root, "find /opt /etc /var/lib -newermt @0 -printf '%p\\n' | sort") == before

    said = inside(root, INSTALL)
    assert "adsn is installed in /opt/adsn" in said
    first = state(root)
    assert "adsn video" in inside(root, "id -nG adsn")
    assert inside(root, "/opt/adsn/bin/adsn-serve --version").startswith("adsn ")
    inside(root, "/opt/adsn/bin/adsn-doctor")
    serve(root)
    # The build left nothing in the checkout.
    assert not (root / "src" / "build").exists()

    complaints = inside(
        root, "systemd-analyze verify /etc/systemd/system/adsn-serve.service /etc/systemd/system/adsn-kiosk.service"
    )
    assert not [line for line in complaints.splitlines() if "adsn-" in line], complaints

    # Upgrade with changed settings. The settings and the previous release are kept.
    inside(root, f"echo 'port = {PORT}' > /etc/adsn/serve.toml; sleep 1")
    said = inside(root, INSTALL)
    assert "kept: /etc/adsn/serve.toml" in said
    assert "to go back" in said
    second = state(root)
    assert {path for path in first if "releases/" not in path} == {path for path in second if "releases/" not in path}
    assert inside(root, "cat /etc/adsn/serve.toml") == f"port = {PORT}\n"
    assert len(inside(root, "ls /opt/adsn-releases").split()) == 2
    serve(root)

    # If the new release refuses the settings, the current release stays.
    runs = inside(root, "readlink /opt/adsn")
    inside(root, "echo 'prot = 1' > /etc/adsn/serve.toml; sleep 1")
    assert "as it was" in inside(root, INSTALL, code=78)
    assert inside(root, "readlink /opt/adsn") == runs
    assert len(inside(root, "ls /opt/adsn-releases").split()) == 2

    inside(root, f"{INSTALL} --uninstall")
    assert inside(root, "ls /opt") == opt
    assert "prot" in inside(root, "cat /etc/adsn/serve.toml")
    inside(root, f"{INSTALL} --uninstall --purge")
    inside(root, f"{INSTALL} --uninstall --purge")
    assert "adsn" not in inside(root, "cat /etc/passwd /etc/group; ls /etc /etc/systemd/system /etc/udev/rules.d")
