"""The lines that ``adsn-doctor`` prints: one for each check, with advice if something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
MARKS = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the report."""

    level: Level
    subject: str
    detail: str
