"""Output that runs a program on every ``live`` decision."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

from service.outputs.base import Event, OutputError, boottime_ns

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandOutput:
    """Output that runs ``argv`` without a shell, once for each ``live`` decision.

    The environment of the program is ``ADSN_SESSION``, ``ADSN_DECISION``, ``ADSN_DOOR``, ``ADSN_EXPIRES_IN_MS``,
    ``PATH`` and ``LANG``. The program inherits nothing else: no secrets, no open files, no input. After ``timeout_s``
    it and its children are killed.
    """

    name = "command"

    def __init__(self, argv: Sequence[str], *, door: str = "", timeout_s: float = 2.0) -> None:
        self._argv, self._door, self._timeout = list(argv), door, timeout_s

    def wants(self, event: Event) -> bool:
        return event.permits

    def send(self, event: Event) -> None:
        now = boottime_ns()
        event.require_fresh(now)
        environment = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "ADSN_SESSION": event.id,
            "ADSN_DECISION": event.decision or "",
            "ADSN_DOOR": self._door,
            "ADSN_EXPIRES_IN_MS": str(((event.expires_ns or now) - now) // 1_000_000),
        }
        null = subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                self._argv, env=environment, stdin=null, stdout=null, stderr=null, cwd="/", start_new_session=True
            )
        except OSError as error:
            raise OutputError(f"the command {self._argv[0]} cannot be started: {error.strerror}.") from error
        try:
            code = process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            raise OutputError(
                f"the command {self._argv[0]} took more than {self._timeout:g} s and was killed."
            ) from None
        finally:
            # Kill the whole process group, so that no child process keeps running.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            raise OutputError(f"the command {self._argv[0]} failed with exit code {code}.")

    def probe(self) -> bool:
        return False

    def close(self) -> None: ...
