"""Hook of MkDocs: the pages that lie beside ``docs/``, links to them, and pages that the navigation has forgotten."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RENAMED = {"ARCHITECTURE.md": "architecture.md", "CONTRIBUTING.md": "contributing.md"}
ALIASES = {"README.md": "index.md", "docs": "index.md", "LICENSE": ""}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
SCHEMED = re.compile(r"[a-z][a-z0-9+.-]*:|#|/", re.IGNORECASE)
DEPLOYMENT = ("deploy", "container", "kubernetes", "compose", "scal", "install", "ray")
"""Beginnings of names of pages that belong under Deployment, where the navigation does not name them."""


def beside() -> dict[str, str]:
    """Page of the repository → its place in the site."""
    found = [*ROOT.glob("benchmarks/*.md"), *ROOT.glob("models/*/MODEL_CARD.md")]
    return {**{path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix() for path in found}, **RENAMED}


def rewritten(text: str, place: str, pages: dict[str, str], exists: Callable[[str], bool]) -> str:
    """``text`` of the page at ``place`` with links as the site has them. ``pages``: see `beside`. ``exists``: whether
    ``docs/`` has a file. What the site does not have, such as code, stays as plain text."""
    source = next((repository for repository, site in pages.items() if site == place), f"docs/{place}")

    def link(match: re.Match[str]) -> str:
        sign, words, target = match.groups()
        if SCHEMED.match(target):
            return match[0]
        path, mark, anchor = target.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if wanted in pages:
            site: str = pages[wanted]
        elif wanted in ALIASES:
            site = ALIASES[wanted]
        elif wanted.startswith("docs/") and exists(wanted[5:]):
            site = wanted[5:]
        elif wanted.startswith("docs/"):
            return match[0]  # MkDocs says what is wrong
        else:
            site = ""
        if not site:
            return words
        return f"{sign}[{words}]({posixpath.relpath(site, posixpath.dirname(place) or '.')}{mark}{anchor})"

    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]*`)", text, flags=re.MULTILINE | re.DOTALL)
    # A link may have code in its words, so code is taken out and put back rather than split at.
    codes = [part for part in parts[1::2]]
    marked = "".join(part if n % 2 == 0 else f"\0{n // 2}\0" for n, part in enumerate(parts))
    return re.sub("\0(\\d+)\0", lambda m: codes[int(m[1])], LINK.sub(link, marked))


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name where a reader will look for them."""
    named = set(re.findall(r"[\w./-]+\.md", str(config.nav)))
    forgotten = sorted(p.name for p in Path(config.docs_dir).glob("*.md") if p.name not in named)
    for name in forgotten:
        section = "Deployment" if name.startswith(DEPLOYMENT) else "Reference"
        next(entry for entry in config.nav if section in entry)[section].append(name)
    measured = next(entry for entry in config.nav if "Measurements" in entry)["Measurements"]
    measured += sorted(site for site in beside().values() if site.startswith("benchmarks/") and site not in named)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages beside ``docs/``."""
    from mkdocs.structure.files import File

    for repository, site in beside().items():
        files.append(File.generated(config, site, content=(ROOT / repository).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links."""
    return rewritten(markdown, page.file.src_uri, beside(), lambda name: files.get_file_from_path(name) is not None)
