"""An ``adsn-serve`` process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ADSN_")}


COMMAND = [sys.executable, "-c", "from service.cli.serve import main; main()"]


@contextlib.contextmanager
def serving(log: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the process. Yield it and its address once it is ready. ``environment``: additional variables."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**ENVIRONMENT, **environment},
        )
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, log.read_text()
        deadline = time.monotonic() + 60
        while httpx.get(f"{found[0]}/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
