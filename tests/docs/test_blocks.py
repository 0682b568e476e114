"""Every block of every page is run or parsed, or is marked with the reason why it is not."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from adsn.evaluation.plan import DataPlan
from adsn.training.recipe import Recipe
from service.config.settings import Settings
from service.kiosk.config import KioskSettings
from tests.support.docs.blocks import BLOCKS, ids, mistakes
from tests.support.docs.pages import Block, blocks_of
from tests.support.docs.runner import DocumentedPage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELL, RUN = ("sh", "console"), ("sh", "console", "python")
PARSED = ("json", "toml")
SHOWN = ("", "text", "yaml", "js", "nginx", "ini", "dockerfile", "promql")
"""Languages of blocks that are only shown."""
MODELS: tuple[type[BaseModel], ...] = (Settings, KioskSettings, Recipe, DataPlan)
FAST_S, SLOW_S = 60, 900


def pages(*, slow: bool) -> list[str]:
    """Return the pages with blocks to run. ``slow``: return those with blocks that are run only in the slow run."""
    found = {b.page for b in BLOCKS if b.language in RUN and b.runs and (not slow or "slow" in b.markers)}
    return sorted(found)


def run_page(page: str, folder: Path, slow: bool) -> int:
    ran = 0
    with DocumentedPage(folder) as beside:
        for block in blocks_of(page):
            if (name := block.marker("save")) is not None:
                (folder / name).write_text(block.text, encoding="utf-8")
            if block.marker("printed") is not None:
                beside.require_printed(block)
                ran += 1
            if block.language in RUN and block.runs and (slow or "slow" not in block.markers):
                beside.run(block, SLOW_S if slow else FAST_S)
                ran += 1
    return ran


@pytest.mark.parametrize("page", pages(slow=False))
def test_the_blocks_of_a_page_do_what_it_says(page: str, tmp_path: Path) -> None:
    if not any("slow" not in b.markers for b in BLOCKS if b.page == page and b.language in RUN and b.runs):
        pytest.skip("all of it is slow: -m docs_slow")
    assert run_page(page, tmp_path, slow=False)


@pytest.mark.docs_slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", pages(slow=True))
def test_so_do_the_slow_ones(page: str, tmp_path: Path) -> None:
    assert run_page(page, tmp_path, slow=True)


@pytest.mark.parametrize("block", BLOCKS, ids=ids)
def test_a_block_is_of_a_known_language(block: Block) -> None:
    assert block.language in (*RUN, *PARSED, *SHOWN)
    assert not block.markers or block.language in (*RUN, *PARSED)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in PARSED], ids=ids)
def test_json_and_toml_can_be_read(block: Block) -> None:
    if block.language == "json":
        assert json.loads(block.text)
        return
    values = tomllib.loads(block.text)
    if block.runs:
        wrong = {model.__name__: mistakes(model, values) for model in MODELS}
        assert not all(wrong.values()), f"{block.where} is no part of any settings, recipe or plan: {wrong}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in RUN and not b.runs], ids=ids)
def test_what_is_not_run_says_why_and_can_be_parsed(block: Block) -> None:
    assert (block.marker("needs") or block.marker("not run") or "").strip(), f"{block.where}: say why"
    if block.language == "python":
        compile(block.text, block.where, "exec")
    elif block.language == "sh":
        done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], set[str]]:
    """Return command → its options."""
    from docs.make.commands import everything

    return {said.words: said.options | {"--help", "--version"} for said in everything()}


def commands_of(block: Block) -> Iterator[list[str]]:
    """Return the ``adsn-…`` commands in a block, split into words."""
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        if not re.match(r"\s*(\$ )?([A-Z_]+=\S* )*(\.venv/bin/|/\S*/)?adsn-", line):
            continue
        for part in re.split(r"&&|\|\||[|;]", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # an apostrophe in the output of a command
            while words and (words[0] == "$" or re.match(r"[A-Z_]+=", words[0])):
                words.pop(0)
            if words and Path(words[0]).name.startswith("adsn-"):
                yield [Path(words[0]).name, *words[1:]]


def test_every_command_and_option_exists(known: dict[tuple[str, ...], set[str]]) -> None:
    """This includes blocks that are not run, and the text."""
    wrong, seen = [], 0
    for block in [b for b in BLOCKS if b.language in SHELL]:
        for words in commands_of(block):
            seen += 1
            named = next((tuple(words[:n]) for n in (3, 2, 1) if tuple(words[:n]) in known), None)
            if named is None:
                wrong.append(f"{block.where}: there is no command {words[0]}")
                continue
            for word in words[len(named) :]:
                option = word.partition("=")[0]
                if re.match(r"--?[a-z]", option) and option not in known[named] and option not in known[named[:1]]:
                    wrong.append(f"{block.where}: {' '.join(named)} has no option {option}")
    assert not wrong, "\n".join(wrong)
    assert seen > 20


def test_a_page_that_lies_is_caught(tmp_path: Path) -> None:
    """Tests the checks: a failing command, a missing line, a marker without a block."""
    from tests.support.docs.runner import BlockFailed, DocumentedPage

    good = "<!-- prints: b -->\n```sh\necho a; echo b\n```\n\n```console\n$ echo 1 22 3\n1 … 3\n```\n"
    with DocumentedPage(tmp_path) as beside:
        for block in blocks_of("x.md", good):
            beside.run(block, 20)
        for text in (
            "```sh\nfalse\n```\n",
            "<!-- exits: 3 -->\n```sh\ntrue\n```\n",
            "<!-- prints: b -->\n```sh\necho a\n```\n",
            "```console\n$ echo 1\n2\n```\n",
            "```python\nassert False\n```\n",
            "```sh\ntrue && make serve\n```\n",
            "<!-- until: never -->\n```sh\necho soon\n```\n",
        ):
            (block,) = blocks_of("x.md", text)
            with pytest.raises(BlockFailed):
                beside.run(block, 20)
        (shown,) = blocks_of(
            "x.md", '<!-- printed: it -->\n```json\n{"a": {"b": 1.2}, "c": [{"name": "x", "v": 1}]}\n```\n'
        )
        for printed, right in (
            ('{"a": {"b": 1.21, "more": 0}, "c": [{"name": "w"}, {"name": "x", "v": 1}]}', True),
            ('{"a": {"b": 1.3}, "c": [{"name": "x", "v": 1}]}', False),
            ('{"a": {"b": 1.2}, "c": [{"name": "y", "v": 1}]}', False),
            ('{"a": {"b": 1.2}, "c": [{"name": "x", "v": 2}]}', False),
            ("nothing", False),
        ):
            (block,) = blocks_of("x.md", f"```sh\necho '{printed}'\n```\n")
            beside.run(block, 20)
            if right:
                beside.require_printed(shown)
            else:
                with pytest.raises(BlockFailed):
                    beside.require_printed(shown)
        (endless,) = blocks_of("x.md", "<!-- until: soon -->\n```sh\necho soon; sleep 100\n```\n")
        beside.run(endless, 20)
    with pytest.raises(ValueError, match="before no block"):
        blocks_of("x.md", "<!-- slow -->\n\nwords\n")
