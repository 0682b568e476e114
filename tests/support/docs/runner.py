"""Run the blocks of a page in a separate folder with the project's environment, and end leftover processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from docs.make.answer import shortened
from tests.support.docs.pages import ROOT, Block

LINKED = (
    "adsn", "benchmarks", "calib", "deploy", "docs", "examples", "export", "runtime", "service", "synthetic",
    "pyproject.toml", "README.md",
)  # fmt: skip
"""Files that are linked into the folder of a page, as in a checkout. The models are copied, because some commands write
to them."""
INSTALLS = re.compile(r"(^|[\s;&|/])(make|pip3?|apt|apt-get|npm|docker|systemctl|sudo|modprobe)\s", re.MULTILINE)
"""Commands that would change the machine or the environment in which the tests run."""
PORTS = {"8000": "ADSN_PORT", "8001": "ADSN_KIOSK_HTTP__PORT"}
STOPPED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)


class BlockFailed(AssertionError):
    """A block did not behave as its page says."""


class DocumentedPage:
    """The folder of a page, and the services that run while its blocks are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self._servers: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._printed = ""
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        shutil.copytree(ROOT / "models", folder / "models")
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PIP_DRY_RUN": "1",
            **{PORTS[port]: free for port, free in self.ports.items()},
        }
        if "ADSN_FACE_MODEL" in os.environ:
            self.env["ADSN_FACE_MODEL"] = os.environ["ADSN_FACE_MODEL"]
        (folder / "home").mkdir()

    def __enter__(self) -> DocumentedPage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process, _ in self._servers:
            end(process)

    def here(self, text: str) -> str:
        """Return ``text`` from the page with the ports that are used in this run."""
        for port, free in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1|localhost):{port}\b", rf"\1:{free}", text)
        return text

    def there(self, text: str) -> str:
        """Return ``text`` printed in this run with the ports that are on the page."""
        for port, free in self.ports.items():
            text = text.replace(f":{free}", f":{port}")
        return text

    def serve(self, command: str, timeout_s: float = 60) -> None:
        """Start a service, and wait until it is ready."""
        process, output = self._start(command)
        self._servers.append((process, output))
        url = f"http://127.0.0.1:{self.ports['8001' if 'kiosk' in command else '8000']}/readyz"
        until = time.monotonic() + timeout_s
        while True:
            if process.poll() is not None or time.monotonic() > until:
                raise BlockFailed(f"{command}: not ready. It said:\n{output.read_text()[-3000:]}")
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)

    def run(self, block: Block, timeout_s: float) -> None:
        """Run a block of shell commands or Python."""
        if block.language != "python" and INSTALLS.search(block.text):
            raise BlockFailed(f"{block.where}: changes the environment or the machine; mark it <!-- not run: … -->.")
        for command in block.markers.get("server", ()):
            self.serve(command)
        given = "".join(f"{text}\n" for text in block.markers.get("given", ()))
        if block.language == "python":
            script = self.folder / "block.py"
            script.write_text(given + self.here(block.text), encoding="utf-8")
            process, output = self._start(f"exec python {script}")
        else:
            commands, expected = transcript(block.text) if block.language == "console" else (block.text, [])
            process, output = self._start(given + self.here(commands))
        try:
            if (words := block.marker("until")) is not None:
                self._until(process, output, words, timeout_s, block)
            else:
                process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BlockFailed(f"{block.where}: still running after {timeout_s:g} s. It said:\n{said(output)}") from None
        finally:
            end(process)
        text = self.there(said(output))
        if block.language != "python":
            self._printed = output.read_text(encoding="utf-8", errors="replace")
        codes = STOPPED if "until" in block.markers else (int(block.marker("exits") or 0),)
        if process.returncode not in codes:
            raise BlockFailed(f"{block.where}: exit code {process.returncode}, expected {codes[0]}. It said:\n{text}")
        for words in block.markers.get("prints", ()):
            if words not in text:
                raise BlockFailed(f"{block.where}: did not print {words!r}, but:\n{text}")
        if block.language == "console":
            compare(block, expected, text)

    def require_printed(self, block: Block) -> None:
        """Compare a JSON block with the last JSON object that a shell block printed."""
        begin = self._printed.find("{")
        answer, _ = json.JSONDecoder().raw_decode(self._printed, begin) if begin >= 0 else ({}, 0)
        shown = json.loads(block.text)
        try:
            own = shortened(shown, answer)
        except KeyError as error:
            raise BlockFailed(f"{block.where}: {error} was not printed. Printed was:\n{answer}") from error
        if not alike(shown, own):
            raise BlockFailed(f"{block.where}: the page shows\n{shown}\nand printed was\n{own}")

    def _start(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".output-")
        with os.fdopen(handle, "wb") as out:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, Path(name)

    def _until(
        self, process: subprocess.Popen[bytes], output: Path, words: str, timeout_s: float, block: Block
    ) -> None:
        until = time.monotonic() + timeout_s
        while words not in self.there(said(output)):
            if process.poll() is not None:
                raise BlockFailed(f"{block.where}: ended before it said {words!r}. It said:\n{said(output)}")
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("block", timeout_s)
            time.sleep(0.05)
        end(process)


def alike(shown: Any, printed: Any) -> bool:
    """Return whether two JSON values are equal up to rounding and differences between CPU kernels."""
    if isinstance(shown, dict):
        return isinstance(printed, dict) and all(alike(value, printed[key]) for key, value in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(printed) and all(map(alike, shown, printed))
    if isinstance(shown, float):
        return isinstance(printed, float | int) and abs(shown - printed) <= max(0.02, 0.005 * abs(shown))
    return type(shown) is type(printed) and bool(shown == printed)


def free_port() -> int:
    """Return a free port of the loopback device."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def said(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace")[-6000:]


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process group, and kill the processes that do not stop."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait(15)


def transcript(text: str) -> tuple[str, list[str]]:
    """Return the commands of a ``console`` block, and the output lines that it shows."""
    lines = text.splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("$ ")), [
        line for line in lines if not line.startswith("$ ") and line.strip() and line.strip() != "…"
    ]


def compare(block: Block, expected: list[str], text: str) -> None:
    """Require that the expected lines are among the printed ones, in the same order. … stands for anything."""
    printed = iter([" ".join(line.split()) for line in text.splitlines()])
    for line in expected:
        pattern = re.compile(".*".join(re.escape(part) for part in " ".join(line.split()).split("…")))
        if not any(pattern.fullmatch(one) for one in printed):
            raise BlockFailed(f"{block.where}: this line was not printed: {line!r}. Printed was:\n{text}")
