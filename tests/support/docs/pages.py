"""Parse pages for tests: fenced blocks with the comments before them, headings, and links.

Comments directly before a block say how it is tested; there may be several::

    <!-- needs hardware -->, <!-- needs docker -->, …    not run
    <!-- not run: reason -->                             not run
    <!-- slow -->                                        only with -m docs_slow
    <!-- server: COMMAND -->                             run this command from here to the end of the page
    <!-- until: WORDS -->                                does not end by itself: stop it once it has printed this
    <!-- exits: 1 -->                                    exit code, if not 0
    <!-- prints: WORDS -->                               the output must contain this
    <!-- given: STATEMENTS -->                           run before a Python or sh block
    <!-- save: NAME -->                                  save the block as this file, for later blocks
    <!-- printed: … -->                                  shortened JSON output of the last shell block

The blocks of one page run in order in one folder. Blocks that are not run are still parsed, and the options of every
``adsn-`` command in them must exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    )
)
FENCE = re.compile(r"^( *)(`{3,})(\S*)(.*)$")
COMMENT = re.compile(r"^ *<!--\s*(.*?)\s*-->$")
MARKERS = ("needs", "not run", "slow", "server", "until", "exits", "prints", "given", "save", "printed")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line``: line number of its fence, from 1. ``markers``: name → values, from the comments before
    it."""

    page: str
    line: int
    language: str
    text: str
    markers: dict[str, list[str]]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return not {"needs", "not run"} & set(self.markers)

    def marker(self, name: str) -> str | None:
        return self.markers[name][0] if name in self.markers else None


def marked(comment: str) -> tuple[str, str] | None:
    """Return name and value of a marker, or None for other comments."""
    for name in MARKERS:
        match = re.fullmatch(rf"{name}(?::\s*|\s+|$)(.*)", comment, re.DOTALL)
        if match:
            return name, match[1]
    return None


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """Return all fenced blocks of a page."""
    lines = ((ROOT / page).read_text(encoding="utf-8") if text is None else text).splitlines()
    found: list[Block] = []
    markers: dict[str, list[str]] = {}
    number = 0
    while number < len(lines):
        comment, fence = COMMENT.match(lines[number]), FENCE.match(lines[number])
        number += 1
        if comment:
            said = marked(comment[1])
            if said:
                markers.setdefault(said[0], []).append(said[1])
        elif fence:
            indent, ticks, start = len(fence[1]), fence[2], number
            while number < len(lines) and lines[number].strip() != ticks:
                number += 1
            body = "\n".join(line[indent:] for line in lines[start:number]) + "\n"
            found.append(Block(page, start, fence[3], body, markers))
            markers, number = {}, number + 1
        elif lines[number - 1].strip() and markers:
            raise ValueError(f"{page}:{number}: a marker stands before no block")
    return found


def prose_of(page: str) -> str:
    """Return the text of a page without its blocks and comments. Line numbers stay the same."""
    kept, inside = [], ""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        fence = FENCE.match(line)
        if not inside and fence:
            inside = fence[2]
        elif inside and line.strip() == inside:
            inside = ""
        elif not inside:
            kept.append(line)
            continue
        kept.append("")
    return re.sub(r"<!--.*?-->", "", "\n".join(kept), flags=re.DOTALL)


def anchors_of(page: str) -> set[str]:
    """Return the valid anchors of a page: ids, and headings in the form used by both GitHub and Python-Markdown."""
    prose = prose_of(page)
    found = set(re.findall(r'<a id="([^"]+)"', prose))
    for heading in re.findall(r"^#{1,6} (.+?)\s*#*$", prose, re.MULTILINE):
        plain = re.sub(r"<[^>]+>", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).replace("`", "")
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


def links_of(page: str) -> list[str]:
    """Return the targets of all links and images outside code."""
    prose = re.sub(r"(`+).+?\1", "", prose_of(page))
    return re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", prose)
