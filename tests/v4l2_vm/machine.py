"""Run an emulated machine with Debian's kernel and its simulated camera driver.

The initial RAM disk contains busybox and a dozen modules. The root file system of this machine is mounted read-only
over 9p, and the guest runs the same Python from it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.support.machines.vm_kernel import MARK, boot, debian_kernel, initrd

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "vivid")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
for module in {{modules}}; do insmod /modules/$module.ko $(cat /modules/$module.options 2>/dev/null); done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=1048576 host /host || echo "{mark}no host"
mount -t devtmpfs none /host/dev; mount -t proc none /host/proc; mount -t sysfs none /host/sys
mount -t tmpfs none /host/var/tmp
chroot /host /usr/bin/env -i PATH=/usr/bin:/bin HOME=/var/tmp TMPDIR=/var/tmp PYTHONDONTWRITEBYTECODE=1 \\
  PYTHONPATH={repository} OMP_NUM_THREADS=1 {python} -m tests.v4l2_vm.guest 2>&1
echo "{mark}exit $?"
poweroff -f
"""


def run(repository: Path, cache: Path, timeout_s: float) -> list[dict[str, Any]]:
    """Boot, run `tests.v4l2_vm.guest`, and return its results in order.

    Raises:
        RuntimeError: the machine did not complete. The message ends with its output.
    """
    kernel, image = debian_kernel(cache), cache / "v4l2.initrd.gz"
    # Two cameras of the kind "webcam", each with a metadata node.
    options = {"vivid": "n_devs=2 num_inputs=1,1 input_types=0,0"}
    script = INIT.format(mark=MARK, repository=repository, python=sys.executable)
    initrd(kernel, image, MODULES, options, script)
    more = [
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    ]
    return boot(kernel, image, more, cache / "v4l2.log", timeout_s)
