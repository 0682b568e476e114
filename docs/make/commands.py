"""Generate ``docs/commands.md`` from the ``--help`` of every command. Run ``python -m docs.make.commands``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import typer
from typer.testing import CliRunner

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
HEAD = """# Commands

Generated from `--help` by `python -m docs.make.commands`; a test compares them.

Every command has `--help` and `--version`. Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration.
Errors are one line and say what to do; see [troubleshooting](troubleshooting.md).
"""
WIDE = 10_000


@dataclass
class CommandHelp:
    """The help of one command. ``entries``: heading → name and text of each entry."""

    words: tuple[str, ...]
    usage: str = ""
    text: list[str] = field(default_factory=list)
    entries: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def options(self) -> set[str]:
        """``--name`` of every option, in all spellings."""
        return {o for n, _ in self.entries.get("Options", []) for o in re.findall(r"(?<![\w-])--?[a-z][\w-]*", n)}

    @property
    def commands(self) -> list[str]:
        return [name for name, _ in self.entries.get("Commands", [])]


class _Found(BaseException):
    """Raised to get hold of an application before it starts."""

    def __init__(self, app: typer.Typer) -> None:
        super().__init__()
        self.app = app


def application(entry: str) -> typer.Typer:
    """Return the application that a console script runs. ``entry``: ``module:function``."""
    module, _, function = entry.partition(":")

    def stop(app: typer.Typer, *args: object, **named: object) -> None:
        raise _Found(app)

    with patch.object(typer.Typer, "__call__", stop):
        try:
            getattr(import_module(module), function)()
        except _Found as found:
            return found.app
    raise LookupError(f"{entry} runs no application")


def helped(app: typer.Typer, words: tuple[str, ...]) -> CommandHelp:
    """Return the help of a command. ``words``: program, followed by the names of subcommands."""
    done = CliRunner().invoke(
        app, [*words[1:], "--help"], prog_name=words[0], terminal_width=WIDE, max_content_width=WIDE
    )
    if done.exit_code:
        raise LookupError(f"{' '.join(words)} --help: {done.output}")
    said, heading = CommandHelp(words), ""
    for line in done.stdout.replace(str(Path.home()), "~").splitlines():
        entry = re.match(r"^  (\S.*?)(?: {2,}(.*))?$", line)
        if line.startswith("Usage: "):
            said.usage = line.removeprefix("Usage: ")
        elif re.fullmatch(r"\w+:", line):
            heading = line[:-1]
        elif heading and entry:
            said.entries.setdefault(heading, []).append((entry[1], entry[2] or ""))
        elif heading and line.strip():
            name, text = said.entries[heading][-1]
            said.entries[heading][-1] = name, f"{text} {line.strip()}".strip()
        elif not heading:
            said.text.append(line.strip())
    return said


def programs() -> dict[str, str]:
    """Return console script → ``module:function`` from pyproject.toml."""
    scripts: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    return scripts


def everything() -> Iterator[CommandHelp]:
    """Yield the help of every program and its commands, depth first."""
    for name, entry in sorted(programs().items()):
        app = application(entry)
        waiting: list[tuple[str, ...]] = [(name,)]
        while waiting:
            said = helped(app, waiting.pop(0))
            yield said
            waiting = [(*said.words, command) for command in said.commands] + waiting


def cell(text: str) -> str:
    """Return ``text`` for a table cell, with HTML characters escaped."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def page(commands: list[CommandHelp]) -> str:
    """Return the page."""
    out = [HEAD, f"<!-- typer {version('typer')} -->"]
    for said in commands:
        name = " ".join(said.words)
        text = " ".join(" ".join(said.text).split())
        out += ["", f"{'#' * (1 + min(len(said.words), 3))} `{name}`", "", cell(text), "", f"`{said.usage}`"]
        for heading, entries in said.entries.items():
            rows = [(n, t) for n, t in entries if n not in ("--help", "--version")]
            if rows:
                out += ["", f"| {heading.lower()} | |", "| --- | --- |"]
                out += [f"| `{n.replace('|', chr(92) + '|')}` | {cell(t)} |" for n, t in rows]
    return "\n".join(out).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(list(everything())), encoding="utf-8")
