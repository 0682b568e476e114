"""Create a disk with Debian and adsn, installed by ``deploy/install.sh``, and boot it in an emulated machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.machines.debian import checkout, debian, inside
from tests.support.machines.vm_kernel import MARK, boot, debian_kernel, initrd

MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "vivid", "uhid", "hid_mcp2221")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
for module in {modules}; do insmod /modules/$module.ko $(cat /modules/$module.options 2>/dev/null); done
mount -t ext4 /dev/vda /host || poweroff -f
umount /sys /proc
mount --move /dev /host/dev
exec switch_root /host /lib/systemd/systemd
"""
CHECKS = """[Unit]
Description=what the host asked for
[Service]
Type=exec
Environment=PYTHONPATH=/checks
ExecStart=/usr/bin/python3 -u -m tests.systemd_vm.guest "{mark}"
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
"""
# These units would write to the console between the lines that are read, or wait for a missing network.
MASKED = "serial-getty@ttyS0.service getty@tty1.service systemd-timesyncd.service apt-daily.timer"


def make_disk(folder: Path) -> Path:
    """Install Debian and adsn into an image of an ext4 file system in ``folder``. Needs root and debootstrap."""
    root, image = folder / "root", folder / "disk.img"
    with debian(root, "systemd-sysv") as made:
        checkout(made)
        inside(made, "sh /src/deploy/install.sh")
        inside(made, "/opt/adsn/bin/adsn-rig sample /checks/pairs --species bona_fide --species replay_screen")
        inside(made, "/opt/adsn/bin/adsn-serve keygen --out /etc/adsn/device.pem")
        (made / "etc" / "adsn" / "device.pem").chmod(0o600)
        code = made / "checks" / "tests" / "systemd_vm"
        code.mkdir(parents=True)
        for name in ("guest.py", "gpioboard.py"):
            shutil.copyfile(Path(__file__).with_name(name), code / name)
        (made / "etc" / "systemd" / "system" / "checks.service").write_text(CHECKS.format(mark=MARK))
        inside(made, f"systemctl enable checks.service; systemctl mask {MASKED}; rm -rf /var/cache/apt /root/.cache")
    # Create the image only now, when no folders of this machine are mounted in the root.
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(image), "3G"], check=True)
    shutil.rmtree(root)
    return image


def run(disk: Path, cache: Path, timeout_s: float) -> list[dict[str, Any]]:
    """Boot the disk, which runs ``guest.py``, and return its results in order.

    Raises:
        RuntimeError: the machine did not complete. The message ends with its output.
    """
    kernel, image = debian_kernel(cache), cache / "systemd.initrd.gz"
    initrd(kernel, image, MODULES, {"vivid": "n_devs=2 num_inputs=1,1 input_types=0,0"}, INIT)
    more = [
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=no"),
        *("-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"),
    ]
    return boot(kernel, image, more, cache / "systemd.log", timeout_s)
