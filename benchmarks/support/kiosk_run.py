"""Run a kiosk in a separate process, as systemd does: start, watch and stop it. Used by measurements and tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
URL = re.compile(r"console: (http://[^/]+)/console")


class KioskProcess:
    """Process that runs ``adsn-kiosk --config`` in ``folder``, with a notify socket like systemd's.

    ``text``: settings file, in which ``@folder@`` stands for the folder. The event log is ``events.jsonl`` in the
    folder. ``core``: the only CPU core that the kiosk may use; None means any.
    """

    def __init__(self, folder: Path, text: str, core: int | None = None, /, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "events.jsonl"
        self.config = folder / "kiosk.toml"
        self.config.write_text(text.replace("@folder@", str(folder)), encoding="utf-8")
        self.notified: list[tuple[float, str]] = []
        self.said: list[str] = []
        name = f"adsn-{uuid.uuid4().hex}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind("\0" + name)
        own = {k: v for k, v in os.environ.items() if not k.startswith("ADSN_KIOSK_")}
        path = os.pathsep.join(filter(None, (str(ROOT), own.get("PYTHONPATH", ""))))
        pinned = "" if core is None else f"import os; os.sched_setaffinity(0, {{{core}}}); "
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{pinned}from service.kiosk import main; main()", "--config", str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**own, "PYTHONPATH": path, "NOTIFY_SOCKET": f"@{name}", **environment},
        )
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read_log, self._read_notify)]
        for thread in self._threads:
            thread.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def _read_notify(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._notify.recv(4096):
                now = time.monotonic()
                self.notified += [(now, line) for line in data.decode().splitlines()]

    def wait_for(self, true: Callable[[], bool], timeout_s: float = 60.0) -> float:
        """Wait until ``true`` returns True, and return the time.

        Raises `TimeoutError` with the end of the log of the process.
        """
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline or self.process.poll() is not None:
                tail = "\n".join(self.said[-15:])
                raise TimeoutError(f"it did not happen; exit code {self.process.poll()}; the log ends:\n{tail}")
            time.sleep(0.01)
        return time.monotonic()

    def has_notified(self, line: str) -> bool:
        return any(line == said for _, said in self.notified)

    @property
    def url(self) -> str:
        """Return the address of the page, once it is available."""
        self.wait_for(lambda: any(URL.search(line) for line in self.said))
        return next(found[1] for line in self.said if (found := URL.search(line)))

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page, or status 0 if there is no response."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def events(self, kind: str = "") -> list[Mapping[str, Any]]:
        """Return the complete lines of the event log. ``kind``: kind of events; empty means all."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [event for event in found if not kind or event["kind"] == kind]

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> tuple[int, float]:
        """Send a signal to the process. Return its exit code and the seconds until it ended."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        return code, time.monotonic() - began

    def __enter__(self) -> KioskProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        with contextlib.suppress(OSError):
            self._notify.shutdown(socket.SHUT_RDWR)
        self._notify.close()
        for thread in self._threads:
            thread.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
