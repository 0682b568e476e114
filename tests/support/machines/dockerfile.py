"""Parse the parts of a Dockerfile that the tests need: its stages and their instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(slots=True)
class Stage:
    """One stage: its base, its name, its instructions as (instruction, rest) with continued lines joined, and the
    global arguments that it uses, with their defaults."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)

    def all(self, instruction: str) -> list[str]:
        """Return the text after each instruction of this kind."""
        return [rest for word, rest in self.steps if word == instruction]


def read_stages(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    """Return the stages of a Dockerfile, with global arguments substituted."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        rest = re.sub(r"\s+", " ", rest.strip())
        if word == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(re.sub(r"\$\{(\w+)\}", lambda m: arguments[m.group(1)], base), name))
        elif word == "ARG":
            stages[-1].arguments[rest] = arguments[rest]
        else:
            stages[-1].steps.append((word, rest))
    return stages
