"""Find the line numbers of the keys in a TOML text. Error messages need them, and TOML parsers do not keep them."""

from __future__ import annotations

import re

KeyPath = tuple[str | int, ...]
"""Path to a value: keys from the top of the document, and indices into arrays of tables."""

BARE = re.compile(r"[A-Za-z0-9_-]+")
STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
SPACES = re.compile(r"[ \t]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return key path → line number, counted from 1, for every key and table header of a valid TOML text.

    Keys inside inline tables are not listed. They are on the line of the key of the table.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    at = _skip(BLANK, text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if text[at] == "[":
            double = text.startswith("[[", at)
            names, at = _key(text, at + 1 + double)
            table = _resolve(names[:-1], counts) + names[-1:]
            if double:
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, line)
                table += (counts[table],)
            elif table in counts:
                table += (counts[table],)
            at = text.index("]", at) + 1 + double
            _note(lines, table, line)
        else:
            names, at = _key(text, at)
            _note(lines, table + names, line)
            at = _value_end(text, text.index("=", at) + 1)
        at = _skip(BLANK, text, at)
    return lines


def _note(lines: dict[KeyPath, int], path: KeyPath, line: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _resolve(names: KeyPath, counts: dict[KeyPath, int]) -> KeyPath:
    """Return the key path of a table header. For arrays of tables it contains the index of the last element so far."""
    path: KeyPath = ()
    for name in names:
        path += (name,)
        if path in counts:
            path += (counts[path],)
    return path


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _key(text: str, at: int) -> tuple[KeyPath, int]:
    """Parse the dotted key at position ``at``. Return its path and its end position."""
    names: list[str] = []
    while True:
        at = _skip(SPACES, text, at)
        match = STRING.match(text, at) or BARE.match(text, at)
        if match is None:
            return tuple(names), at
        names.append(match.group().strip("\"'") if match.group()[0] in "\"'" else match.group())
        at = _skip(SPACES, text, match.end())
        if not text.startswith(".", at):
            return tuple(names), at
        at += 1


def _value_end(text: str, at: int) -> int:
    """Return the end position of the value that begins at ``at``.

    It is the first line end outside strings, comments and brackets.
    """
    depth = 0
    while at < len(text):
        sign = text[at]
        if sign in "\"'":
            match = STRING.match(text, at)
            at = match.end() if match else at + 1
            continue
        if sign == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if sign == "\n" and depth == 0:
            return at
        depth += (sign in "[{") - (sign in "]}")
        at += 1
    return at
