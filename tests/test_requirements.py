"""The pinned packages: each has its hashes, everything needed for serving is pinned, and there is no address of an
index."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
FEWEST = {"serve": 20, "kiosk": 20, "opencv-build": 5}
"""Each file pins more packages than this."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> list[tuple[str, str]]:
    """Return the name and the entry of each requirement."""
    joined = text.replace("\\\n", " ")
    entries = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(plain(entry.partition("==")[0]), entry) for entry in entries]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_with_hashes_and_without_an_address(path: Path) -> None:
    text = path.read_text()
    entries = pinned(text)
    assert len(entries) > FEWEST[path.stem]
    for name, entry in entries:
        assert re.match(r"[a-z0-9-]+==[^\s;]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
    assert not re.search(r"https?:|--index|--find-links|@ ", text)


@pytest.mark.parametrize(
    "path", [path for path in LOCKS if path.stem in ("serve", "kiosk")], ids=lambda path: path.name
)
def test_everything_that_serving_needs_is_pinned(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["cpu"] + extras["redis"] + extras["sign"]
    if path.stem == "kiosk":
        wanted += extras["kiosk"]
    names = {plain(re.split(r"[\[<>=;\s]", requirement)[0]) for requirement in wanted}
    assert names <= {name for name, _ in pinned(path.read_text())}


def test_everything_that_compiling_opencv_needs_is_pinned() -> None:
    """Check the requirements in its source, without those that the image's system provides (cmake, ninja)."""
    names = {name for name, _ in pinned((ROOT / "requirements" / "opencv-build.txt").read_text())}
    assert {"numpy", "packaging", "scikit-build", "setuptools", "wheel"} <= names
