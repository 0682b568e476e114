"""Run ``adsn-serve`` with the shipped model, for programs that use its responses."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the service on a free port, and yield its address once it is ready.

    Raises:
        SystemExit: the service did not start.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADSN_")}
    command = [sys.executable, "-c", "from service.cli.serve import main; main()", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            assert service.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", service.stdout.readline())
            if found is None:
                raise SystemExit("error: the service did not start; see above.")
            yield found[0]
        finally:
            service.terminate()
