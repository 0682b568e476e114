"""Notifications to systemd, as in sd_notify(3): one datagram to the socket named by NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sender of lines such as ``READY=1``. Without a service manager it does nothing. It never raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of an abstract socket on Linux.
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def send(self, *lines: str) -> None:
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                try:
                    # Never block on a service manager that does not read.
                    sender.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
                except OSError:
                    return
