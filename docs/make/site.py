"""Build the site with Zensical: ``python -m docs.make.site``.

Zensical does not support hooks. So the pages are first put together in a temporary folder: those in ``docs/`` and those
next to it, with links adapted to the site, and a navigation that lists all of them.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RENAMED = {"ARCHITECTURE.md": "architecture.md", "CONTRIBUTING.md": "contributing.md"}
ALIASES = {"README.md": "index.md", "docs": "index.md", "LICENSE": ""}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
SCHEMED = re.compile(r"[a-z][a-z0-9+.-]*:|#|/", re.IGNORECASE)
DEPLOYMENT = ("deploy", "container", "kubernetes", "compose", "scal", "install", "ray")
"""Prefixes of pages that belong under Deployment if the navigation does not list them."""


def beside() -> dict[str, str]:
    """Return page outside ``docs/`` → its path in the site."""
    found = [*ROOT.glob("benchmarks/*.md"), *ROOT.glob("models/*/MODEL_CARD.md")]
    return {**{path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix() for path in found}, **RENAMED}


def rewritten(text: str, place: str, pages: dict[str, str], exists: Callable[[str], bool]) -> str:
    """Return ``text``, of the page at ``place``, with its links adapted to the site.

    ``pages``: see `beside`. ``exists``: whether a file exists in ``docs/``. Links to files outside the site, such as
    code, become plain text.
    """
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
            return match[0]  # the site builder reports it
        else:
            site = ""
        if not site:
            return words
        return f"{sign}[{words}]({posixpath.relpath(site, posixpath.dirname(place) or '.')}{mark}{anchor})"

    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]*`)", text, flags=re.MULTILINE | re.DOTALL)
    # The text of a link may contain code, so replace code with placeholders instead of splitting the text at it.
    codes = [part for part in parts[1::2]]
    marked = "".join(part if n % 2 == 0 else f"\0{n // 2}\0" for n, part in enumerate(parts))
    return re.sub("\0(\\d+)\0", lambda m: codes[int(m[1])], LINK.sub(link, marked))


def navigation(nav: list[Any], pages: list[str]) -> list[Any]:
    """Return ``nav`` with the missing ``pages`` added under suitable headings."""
    named = set(re.findall(r"[\w./-]+\.md", str(nav)))
    sections: dict[str, list[str]] = {"Deployment": [], "Reference": [], "Measurements": []}
    for page in pages:
        if page not in named and page.startswith("benchmarks/"):
            sections["Measurements"].append(page)
        elif page not in named and "/" not in page:
            sections["Deployment" if page.startswith(DEPLOYMENT) else "Reference"].append(page)
    return [
        {name: [*entries, *sections.get(name, [])] if isinstance(entries, list) else entries}
        for entry in nav
        for name, entries in entry.items()
    ]


def put_together(folder: Path) -> None:
    """Write the pages, and the configuration for the site builder, to ``folder``."""
    import yaml

    docs, pages = folder / "docs", beside()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("make", "__pycache__"))
    for repository, place in pages.items():
        (docs / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / repository, docs / place)
    places = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    for place in places:
        text = (docs / place).read_text(encoding="utf-8")
        made = rewritten(text, place, pages, lambda name: (docs / name).exists())
        (docs / place).write_text(made, encoding="utf-8")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    config["nav"] = navigation(config["nav"], places)
    for plugin in config["plugins"]:
        if "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def main() -> int:
    """Build the site, and return the exit code of Zensical."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=ROOT / "site", help="folder of the site; default: site")
    parser.add_argument("--pages", type=Path, default=ROOT / "build" / "site", help="folder of the pages put together")
    options = parser.parse_args()
    put_together(options.pages)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    code = subprocess.run(command, cwd=options.pages, check=False).returncode
    if code == 0:
        # Zensical writes only to folders inside its project.
        shutil.rmtree(options.site, ignore_errors=True)
        shutil.copytree(options.pages / "site", options.site)
    return code


if __name__ == "__main__":
    sys.exit(main())
