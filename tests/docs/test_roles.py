"""Run the commands of README.md verbatim in a fresh clone, for each kind of reader. They also create the environments.

Run with ``-m docs_slow``. The tests install from the index that pip is configured for. ``ADSN_TEST_TORCH`` may name the
requirement of a smaller PyTorch build than the index's default (the ``TORCH`` of the Makefile).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs.pages import ROOT, Block, blocks_of
from tests.support.docs.runner import end, free_port

pytestmark = [pytest.mark.docs_slow, pytest.mark.timeout(3600)]
README = blocks_of("README.md")


def block_with(words: str) -> Block:
    """Return the only block of README.md that contains ``words``."""
    (found,) = [block for block in README if words in block.text and block.language in ("sh", "python")]
    return found


def line_with(words: str) -> str:
    """Return the only command of README.md that contains ``words``, without its comment."""
    (found,) = [line for block in README if block.language == "sh" for line in block.text.splitlines() if words in line]
    return found.partition("#")[0].strip()


class Clone:
    """A fresh clone of the committed files, independent of the environment of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "adsn"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.folder)], check=True)
        (folder / "home").mkdir()
        hidden = ("ADSN_", "PYTHON", "VIRTUAL_ENV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(hidden)},
            "HOME": str(folder / "home"),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, text: str, **more: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start commands as a reader would paste them. Their output goes to a file, whose path is returned with the
        process."""
        output = self.folder.parent / f"output-{time.monotonic_ns()}"
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.folder,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, output

    def run(self, text: str, timeout_s: float = 1800) -> str:
        """Run commands, which must succeed, and return their output."""
        process, output = self.start(text)
        try:
            code = process.wait(timeout_s)
        finally:
            end(process)
        printed = output.read_text(errors="replace")
        assert code == 0, f"{text}\n{printed[-4000:]}"
        return printed

    def until(self, text: str, words: str, timeout_s: float = 1800, **more: str) -> subprocess.Popen[bytes]:
        """Start commands that do not end, and wait until they have printed ``words``."""
        process, output = self.start(text, **more)
        deadline = time.monotonic() + timeout_s
        while words not in output.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                end(process)
                raise AssertionError(
                    f"{text}: did not say {words!r}, but\n{output.read_text(errors='replace')[-4000:]}"
                )
            time.sleep(0.2)
        return process


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def served(clone: Clone) -> Iterator[str]:
    """Yield the port on which the first command of the README serves, in the environment that it has created."""
    port = str(free_port())
    process = clone.until(line_with("make serve"), "ready: adsn", MAKEFLAGS=f"PORT={port}")
    yield port
    end(process)


def test_an_integrator_serves_asks_and_calls(clone: Clone, served: str) -> None:
    asked = block_with("curl -F rgb=@").text.replace("127.0.0.1:8000", f"127.0.0.1:{served}")
    assert '"decision": "live"' in clone.run(asked)
    script = clone.folder / "called.py"
    script.write_text(block_with("import adsn").text)
    assert clone.run(".venv/bin/python called.py").startswith("live")


def test_what_is_not_installed_is_named_in_one_line(clone: Clone, served: str) -> None:
    for program in ("adsn-train", "adsn-export", "adsn-eval"):
        assert "Usage:" in clone.run(f".venv/bin/{program} --help")
    process, output = clone.start(line_with("adsn-train"))
    assert process.wait(60) == 1
    (line,) = output.read_text().splitlines()
    assert line.startswith("error: this command needs torch")
    assert "pip install 'adsn[train]'" in line


def test_a_kiosk_builder_tries_the_door(clone: Clone, served: str) -> None:
    port = str(free_port())
    demo = clone.until(line_with("adsn-kiosk --demo"), '"kind": "decision"', 120, ADSN_KIOSK_HTTP__PORT=port)
    demo.send_signal(signal.SIGTERM)
    end(demo)
    end(clone.until(line_with("adsn-rig view"), "pairs", 120))
    clone.run(line_with("adsn-rig list"), 120)
    assert "ok   ONNX Runtime: " in clone.run(line_with("adsn-doctor"), 120)


def test_an_engineer_trains_exports_and_evaluates(clone: Clone, served: str) -> None:
    torch = os.environ.get("ADSN_TEST_TORCH")
    if torch:
        clone.run(f".venv/bin/python -m pip install --quiet '{torch}'")
    clone.run(line_with("pip install -e '.[train,export]'"))
    printed = clone.run(block_with("adsn/recipes/small.toml").text, 3000)
    assert "wrote report.html" in printed
    assert (clone.folder / "runs" / "bundle" / "manifest.json").is_file()
