"""Every link between pages, and every anchor, has a target."""

from __future__ import annotations

import posixpath
import re

import pytest

from docs.make.site import beside, rewritten
from tests.support.docs.pages import PAGES, ROOT, anchors_of, links_of

NAMING = (".py", ".js", ".html", ".toml", ".yaml", ".sh", ".service", ".rules")
ALL = sorted({*PAGES, *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("models/*/*.md"))})


@pytest.mark.parametrize("page", ALL)
def test_links_lead_somewhere(page: str) -> None:
    for target in links_of(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        assert not path.startswith("/"), f"{page}: {target} depends on where it is read"
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        assert (ROOT / wanted).exists(), f"{page}: there is no {wanted} ({target})"
        if anchor:
            assert wanted.endswith(".md"), f"{page}: {target} names a part of what is no page"
            assert anchor in anchors_of(wanted), f"{page}: {wanted} has no part {anchor}; it has {anchors_of(wanted)}"


def test_pages_that_messages_and_comments_name_exist() -> None:
    folders = ("adsn", "calib", "deploy", "export", "runtime", "service", "synthetic")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in NAMING]
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for path in [*files, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "compose.yaml"]
        for page in re.findall(r"docs/[a-z0-9-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert sorted((path, page) for path, page in named if not (ROOT / page).exists()) == []


def test_anchors_are_those_that_readers_see() -> None:
    found = anchors_of("docs/errors.md") | anchors_of("docs/rig.md")
    assert {"no_face", "over-http", "when-there-are-no-pairs"} <= found
    assert "phase-the-one-thing-software-cannot-mend" in anchors_of("docs/pairing.md")


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("rig.md", "[a](../benchmarks/x.md#b)", "[a](benchmarks/x.md#b)"),
        ("benchmarks/x.md", "[a](../docs/rig.md)", "[a](../rig.md)"),
        ("architecture.md", "[a](docs/rig.md)", "[a](rig.md)"),
        ("contributing.md", "[a](ARCHITECTURE.md)", "[a](architecture.md)"),
        ("rig.md", "[`f`](../runtime/pairing/rig.py) and [a](README.md)", "`f` and [a](README.md)"),
        ("rig.md", "[home](../README.md), [b](https://x.y), [c](#d)", "[home](index.md), [b](https://x.y), [c](#d)"),
        ("rig.md", "`[a](../x)`\n```sh\n[b](../y)\n```\n", "`[a](../x)`\n```sh\n[b](../y)\n```\n"),
    ],
)
def test_the_site_has_links_of_its_own(place: str, text: str, expected: str) -> None:
    pages = {**beside(), "benchmarks/x.md": "benchmarks/x.md"}
    assert rewritten(text, place, pages, lambda name: name == "rig.md") == expected
