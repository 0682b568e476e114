"""Compute the tables in ``docs/operating-points.md``. Run ``python -m docs.make.rates``."""

from __future__ import annotations

import re
from pathlib import Path

from adsn.metrics import clopper_pearson
from calib.threshold import presentations_needed

PAGE = Path(__file__).parents[1] / "operating-points.md"
CLAIMS = (0.1, 0.05, 0.03, 0.01, 0.005, 0.001)
ERRORS = (0, 1, 2, 3, 5)
TRIALS = (10, 30, 100, 200, 300, 400, 1000)


def fewest(errors: int, claim: float) -> int:
    """Return the smallest number of presentations that supports a claimed rate.

    With ``errors`` errors among them, the upper limit of the interval does not exceed ``claim``.
    """
    low = high = max(errors, 1)
    while clopper_pearson(errors, high)[1] > claim:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        if clopper_pearson(errors, middle)[1] <= claim:
            high = middle
        else:
            low = middle + 1
    return low


def upper_limits() -> list[str]:
    return [f"| {n} | " + " | ".join(f"{clopper_pearson(e, n)[1]:.2%}" for e in (0, 1, 3)) + " |" for n in TRIALS]


def needed() -> list[str]:
    return [
        f"| {claim:.1%} | " + " | ".join(str(fewest(e, claim)) for e in ERRORS) + f" | {presentations_needed(claim)} |"
        for claim in CLAIMS
    ]


def filled(text: str) -> str:
    """Return the page with newly computed table rows."""
    for header, rows in (("| presentations |", upper_limits()), ("| claim |", needed())):
        text = re.sub(
            rf"^({re.escape(header)}[^\n]*\n\|[ :|-]+\|\n)(?:(?:\||<!-- table)[^\n]*\n)*",
            lambda m, rows=rows: m[1] + "".join(f"{row}\n" for row in rows),  # type: ignore[misc]  # mypy does not infer a lambda's default
            text,
            flags=re.MULTILINE,
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
