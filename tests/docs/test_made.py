"""Generated pages are up to date, and the site built from the docs loads nothing from other hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from docs.make import architecture, commands, rates
from runtime.core.errors import AdsnError
from tests.support.docs.pages import ROOT

AGAIN = "make it again: python -m docs.make.{}"


@pytest.fixture(scope="module")
def every_command() -> list[commands.CommandHelp]:
    return list(commands.everything())


def test_the_page_of_commands_has_every_command_and_option(every_command: list[commands.CommandHelp]) -> None:
    text = commands.PAGE.read_text(encoding="utf-8")
    assert {said.words[0] for said in every_command} == set(commands.programs())
    for said in every_command:
        part = re.search(rf"^#+ `{' '.join(said.words)}`$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
        assert part, f"{' '.join(said.words)}: {AGAIN.format('commands')}"
        missing = {o for o in said.options - {"--help", "--version"} if f"{o}" not in part[1]}
        assert not missing, f"{' '.join(said.words)} {missing}: {AGAIN.format('commands')}"


def test_the_page_of_commands_is_what_help_says(every_command: list[commands.CommandHelp]) -> None:
    text = commands.PAGE.read_text(encoding="utf-8")
    if f"<!-- typer {version('typer')} -->" not in text:
        pytest.skip("made with another version of typer, whose help looks different")
    assert text == commands.page(every_command), AGAIN.format("commands")


def test_the_drawing_is_of_the_contracts() -> None:
    assert architecture.DRAWING.read_text(encoding="utf-8") == architecture.drawing(), AGAIN.format("architecture")
    edges = architecture.allowed()
    assert ("runtime", "service") not in edges
    assert edges["runtime", "synthetic"] == "only runtime.capture.simulated.rig"
    assert architecture.without_heavy() == {"runtime", "service", "synthetic"}


def test_the_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_tables_of_rates_are_computed() -> None:
    text = rates.PAGE.read_text(encoding="utf-8")
    assert rates.filled(text) == text, AGAIN.format("rates")
    for row in (*rates.upper_limits(), *rates.needed()):
        assert f"\n{row}\n" in text


def codes(kind: type[AdsnError]) -> set[str]:
    return {kind.code}.union(*(codes(one) for one in kind.__subclasses__()))


def test_troubleshooting_names_no_code_that_is_none() -> None:
    from service.http.problem_catalogue import PROBLEMS

    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    errors = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    named = set(re.findall(r"errors\.md#(\w+)", text))
    assert named
    assert named <= set(PROBLEMS) | codes(AdsnError)
    for code in ("camera_busy", "camera_denied", "bundle_missing", "signature_invalid", "golden_mismatch"):
        assert code in text
        assert code in errors


def test_the_site_is_built_and_asks_nobody_else(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the site needs the extra docs")
    pytest.importorskip("mkdocstrings", reason="the site needs the extra docs")
    command = [sys.executable, "-m", "docs.make.site", "--site", f"{tmp_path}/site", "--pages", f"{tmp_path}/pages"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]+src=[\"']?([^\"' >]+)", text)
        fetched += re.findall(r"<link[^>]+href=[\"']?([^\"' >]+)", text)
        assert fetched
        assert not [url for url in fetched if re.match(r"(https?:)?//", url)], page.name
        assert "fonts.googleapis" not in text


def test_no_page_is_left_out_of_the_site(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    from docs.make.site import beside, put_together

    put_together(tmp_path / "pages")
    config = yaml.safe_load((tmp_path / "pages" / "mkdocs.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r"[\w./-]+\.md", str(config["nav"])))
    there = {path.relative_to(tmp_path / "pages" / "docs").as_posix() for path in (tmp_path / "pages").rglob("*.md")}
    assert named == there
    assert set(beside().values()) <= there
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= there
