"""Print docs/errors.md: ``python -m service.http``."""

from __future__ import annotations

import sys

from service.http.problem_catalogue import document

if __name__ == "__main__":
    sys.stdout.write(document())
