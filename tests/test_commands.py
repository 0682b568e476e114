"""Console scripts as run by users: real processes, exit codes, and one-line errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime import __version__

BIN = Path(sys.executable).parent
COMMANDS = (
    "adsn-serve",
    "adsn-kiosk",
    "adsn-train",
    "adsn-eval",
    "adsn-export",
    "adsn-calib",
    "adsn-rig",
    "adsn-doctor",
)


def call(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the console scripts of this interpreter's environment."""
    return subprocess.run(
        [BIN / words[0], *words[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version(name: str) -> None:
    helped = call(name, "--help")
    assert helped.returncode == 0
    assert "Usage:" in helped.stdout
    versioned = call(name, "--version")
    assert (versioned.returncode, versioned.stdout.strip()) == (0, f"adsn {__version__}")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("adsn-serve", "--host", "0.0.0.0"), 78, "ADSN_API_KEY"),
        (("adsn-serve", "--port", "99999"), 78, "--port"),
        (("adsn-serve", "--prot", "1"), 2, "--prot"),
        (("adsn-serve", "--bundle", "/nonexistent", "--port", "0"), 78, "/nonexistent"),
        (("adsn-kiosk",), 78, "--demo"),
        (("adsn-kiosk", "--demo", "--species", "ghost"), 78, "bona_fide"),
        (("adsn-train", "/nonexistent.toml", "--out", "/nonexistent"), 78, "/nonexistent.toml"),
        (("adsn-eval", "/nonexistent"), 78, "/nonexistent"),
        (("adsn-export", "/nonexistent.safetensors", "--int8", "--out", "/nonexistent/b"), 1, "/nonexistent"),
        (("adsn-rig", "sample", "/proc/nowhere"), 1, "/proc/nowhere"),
        (("adsn-rig", "sample", "/tmp", "--species", "ghost"), 78, "ghost"),
        (("adsn-rig", "sample", "/tmp", "--shape", "round"), 78, "round"),
        (("adsn-rig", "sample", "/tmp", "--seed", "3"), 78, "--shape analytic"),
        (("adsn-rig", "sample", "/tmp", "--count", "90"), 78, "fewer than 90"),
    ],
)
def test_wrong_use_is_one_line_and_an_exit_code(words: tuple[str, ...], code: int, says: str) -> None:
    done = call(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_kiosk_prints_a_settings_file_that_it_accepts(tmp_path: Path) -> None:
    printed = call("adsn-kiosk", "--print-config")
    assert printed.returncode == 0, printed.stderr
    path = tmp_path / "kiosk.toml"
    path.write_text(printed.stdout.replace('#rgb = ""', 'rgb = "synthetic:"').replace('#ir = ""', 'ir = "synthetic:"'))
    assert call("adsn-kiosk", "--check-config", path).returncode == 0
    path.write_text("[gpio]\nlyne = 1\n")
    refused = call("adsn-kiosk", "--check-config", path)
    assert refused.returncode == 78
    assert f"{path}:2: gpio.lyne: there is no such setting; did you mean line?" in refused.stderr


def test_the_doctor_finds_nothing_wrong_with_an_environment_that_serves() -> None:
    done = call("adsn-doctor")
    assert done.returncode == 0, done.stdout + done.stderr


def test_samples_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = call(
            *("adsn-rig", "sample", tmp_path / name, "--species", "bona_fide", "--shape", "analytic", "--seed", "3")
        )
        assert done.returncode == 0, done.stderr
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["bona_fide-0-ir.png", "bona_fide-0-rgb.jpg", "bona_fide-0.json"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
