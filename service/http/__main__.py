"""Print docs/errors.md: ``python -m service.http``."""

from __future__ import annotations

import sys

from service.http.problem_catalogue import errors_page

if __name__ == "__main__":
    sys.stdout.write(errors_page())
