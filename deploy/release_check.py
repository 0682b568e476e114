"""Checks before a version is released: ``make release-check``.

    python deploy/release_check.py [--rehearse] [--out dist]

The tree is clean, the tag and the changelog say the version, wheel and source distribution come out the same byte by
byte from two folders, and what is in the wheel runs in an environment of its own. ``--rehearse`` needs no tag and no
date in the changelog. Needs git and the package ``build``; prints SHA-256 sums and leaves the files in ``--out``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def fail(message: str) -> None:
    """Print an error and exit with 1."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def call(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command that must succeed; return its output."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        fail(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return each place that states a version, with the version."""
    found = {}
    for name, pattern in {
        "pyproject.toml": r'^version = "([^"]+)"$',
        "runtime/__init__.py": r'^__version__ = "([^"]+)"$',
    }.items():
        match = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        found[name] = match.group(1) if match else "none"
    return found


def in_changelog(text: str, version: str, dated: bool) -> bool:
    """Return whether the changelog has an entry for ``version``, with a date if ``dated``."""
    date = r" - \d{4}-\d{2}-\d{2}" if dated else r"( - \d{4}-\d{2}-\d{2})?"
    return re.search(rf"^## \[{re.escape(version)}\]{date}$", text, re.MULTILINE) is not None


def normalized(sdist: bytes, epoch: int) -> bytes:
    """Return the source distribution with sorted files, times no later than ``epoch``, and no account names.

    The archive that setuptools writes contains the time of the build.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sdist)) as old,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            content = old.extractfile(member)
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, content)
    return packed.getvalue()


def build(folder: Path, epoch: int) -> dict[str, bytes]:
    """Return the wheel and source distribution of the commit, built in ``folder``."""
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=archive, check=True)
        archive.seek(0)
        subprocess.run(["tar", "-x", "-C", str(source)], stdin=archive, check=True)
    call(sys.executable, "-m", "build", "--outdir", out, source, SOURCE_DATE_EPOCH=str(epoch))
    files = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    return {name: normalized(data, epoch) if name.endswith(".tar.gz") else data for name, data in files.items()}


def try_out(wheel: Path, folder: Path, version: str) -> None:
    """Install the wheel in a separate environment and run it outside the checkout."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    call(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cpu]", cwd=folder)
    said = call(programs / "adsn-serve", "--version", cwd=folder).strip()
    if said != f"adsn {version}":
        fail(f"the installed adsn-serve prints {said!r} instead of 'adsn {version}'.")
    call(programs / "adsn-doctor", cwd=folder)


def main() -> None:
    """Run all checks, the fastest first."""
    parser = argparse.ArgumentParser(description="What must be so before a release.")
    parser.add_argument("--rehearse", action="store_true", help="without a tag and a dated changelog")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the files are left")
    options = parser.parse_args()

    written = versions()
    version = written["pyproject.toml"]
    if len(set(written.values())) != 1:
        fail(f"the version is not the same everywhere: {written}")
    changed = call("git", "status", "--porcelain").strip()
    if changed:
        fail(f"the tree is not clean:\n{changed}")
    if not in_changelog((ROOT / "CHANGELOG.md").read_text(), version, dated=not options.rehearse):
        fail(f"CHANGELOG.md has no line '## [{version}] - YYYY-MM-DD'.")
    if not options.rehearse and f"v{version}" not in call("git", "tag", "--points-at", "HEAD").split():
        fail(f"HEAD does not have the tag v{version}.")
    print(f"version {version}: tree, changelog{'' if options.rehearse else ' and tag'} agree")

    epoch = int(call("git", "log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (build(Path(scratch, name), epoch) for name in ("one", "another-folder"))
        different = [name for name in first if first[name] != second.get(name)]
        if different or first.keys() != second.keys():
            fail(f"two builds of one commit differ: {', '.join(different) or 'in their names'}")
        options.out.mkdir(parents=True, exist_ok=True)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in first.items()}
        for name, data in first.items():
            (options.out / name).write_bytes(data)
        text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (options.out / "SHA256SUMS").write_text(text)
        print(f"two builds are identical:\n{text}", end="")
        (wheel,) = [options.out / name for name in sums if name.endswith(".whl")]
        try_out(wheel.resolve(), Path(scratch), version)
    print("the wheel works in a separate environment; adsn-doctor reports no problem")


if __name__ == "__main__":
    main()
