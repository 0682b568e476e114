"""The checks of a release, on small examples; ``make release-check`` runs them on the project."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from runtime import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "deploy" / "release_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version_everywhere(check: ModuleType) -> None:
    assert set(check.versions().values()) == {__version__}
    assert check.in_changelog((ROOT / "CHANGELOG.md").read_text(), __version__, dated=False)
    (image,) = yaml.safe_load((ROOT / "deploy/kubernetes/base/kustomization.yaml").read_text())["images"]
    assert image["newTag"] == __version__


@pytest.mark.parametrize(
    ("line", "dated", "found"),
    [
        ("## [1.2.3] - 2027-01-31", True, True),
        ("## [1.2.3]", True, False),
        ("## [1.2.3]", False, True),
        ("## [1.2.30] - 2027-01-31", False, False),
        ("see ## [1.2.3]", False, False),
    ],
)
def test_the_changelog_names_the_version(check: ModuleType, line: str, dated: bool, found: bool) -> None:
    assert check.in_changelog(f"# Changelog\n\n{line}\n\n- text\n", "1.2.3", dated) is found


def archive(names: list[str], mtime: int, uid: int, mode: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as stream:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uid, member.mode = 3, mtime, uid, mode
            stream.addfile(member, io.BytesIO(name[-1].encode() * 3))
    return packed.getvalue()


def test_when_and_by_whom_it_was_packed_makes_no_difference(check: ModuleType) -> None:
    one = check.normalized(archive(["p/a", "p/b"], 1_700_000_000, 0, 0o644), 1_600_000_000)
    another = check.normalized(archive(["p/b", "p/a"], 1_800_000_000, 1000, 0o664), 1_600_000_000)
    assert one == another
    with tarfile.open(fileobj=io.BytesIO(one)) as stream:
        content = {m.name: f.read() for m in stream.getmembers() if (f := stream.extractfile(m)) is not None}
    assert content == {"p/a": b"aaa", "p/b": b"bbb"}
    assert check.normalized(archive(["p/a"], 0, 0, 0o644), 0) != check.normalized(archive(["p/b"], 0, 0, 0o644), 0)


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_workflows_call_what_the_makefile_has(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    rules = [line for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line and not line.startswith("\t")]
    targets = {target for rule in rules for target in rule.partition(":")[0].split()}
    assert workflow["permissions"] == {"contents": "read"}
    called = 0
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if "uses" in step:
                assert "@v" in step["uses"], step
            for line in step.get("run", "").splitlines():
                if line.startswith("make "):
                    assert line.split()[1] in targets, line
                    called += 1
    assert called
