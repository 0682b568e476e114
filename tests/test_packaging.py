"""Contents of an installed wheel: every package, every page, and a bundle."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("adsn", "calib", "export", "runtime", "service", "synthetic")
BUILD = "import setuptools.build_meta as b, sys; out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"
SERVE = """
from pathlib import Path
import runtime
from runtime.liveness.open import default_bundle, open_pipeline
assert Path(runtime.__file__).is_relative_to(TARGET), runtime.__file__
assert default_bundle().is_relative_to(TARGET), default_bundle()
pipeline = open_pipeline(default_bundle()).pipeline
pipeline.engine.warm_up()
import service.console.page
import adsn
assert Path(adsn.__file__).is_relative_to(TARGET), adsn.__file__
assert adsn.load_pipeline().modalities == ("rgb", "ir")
print(pipeline.engine.info.backend, len(service.console.page.PAGE.template))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build a wheel and an sdist of the tracked files, in a copy of them because a build leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target) if os.stat(path).st_dev == os.stat(source).st_dev else target.write_bytes(
                path.read_bytes()
            )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", BUILD, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def test_every_package_and_every_file_of_it_is_in_the_wheel(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[0]).namelist())
    missing = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(ROOT)) not in names
    ]
    assert missing == []
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_an_installed_wheel_serves(built: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(built[0]) as archive:
        archive.extractall(target)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    environment.pop("ADSN_BUNDLE", None)
    code = f"from pathlib import Path\nTARGET = Path({str(target)!r})\n" + SERVE
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("onnx-cpu ")


@pytest.fixture
def application(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the user's own packages have our names and come first."""
    for name in ("service", "runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def run_in(folder: Path, environment: dict[str, str], code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder``, outside the checkout, because the working directory comes first on the path."""
    # Behave as if installed from a wheel, because the finder of an editable install finds our modules by name, whatever
    # the path.
    plain = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in getattr(f, '__name__', '')];"
    command = [sys.executable, "-c", f"{plain} {code}", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("program", ["serve", "kiosk", "rig", "doctor", "calib", "export", "train", "evaluate"])
def test_programs_run_beside_packages_of_the_same_name(
    program: str, application: dict[str, str], tmp_path: Path
) -> None:
    code = (
        f"import service; assert service.THEIRS; del sys.modules['service']; from adsn.cli.programs import {program};"
    )
    done = run_in(tmp_path, application, f"{code} {program}()", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_in_python_another_package_called_runtime_is_named(application: dict[str, str], tmp_path: Path) -> None:
    done = run_in(tmp_path, application, "import service; assert service.THEIRS; import adsn; adsn.load_pipeline()")
    assert f"adsn needs its own package 'runtime', but {tmp_path / 'runtime'}" in done.stderr


def test_the_source_distribution_holds_what_the_wheel_is_made_of(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "models/adsn-rgb-ir/manifest.json",
        "service/console/static/console.js",
    ):
        assert wanted in names
