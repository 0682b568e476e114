"""Run the benchmarks and write RESULTS.md: ``python -m benchmarks [NAME ...]``. The names are the keys of `TITLES`."""

from __future__ import annotations

import datetime
import importlib
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import describe
from benchmarks.support.measure import Row

TITLES = {
    "engine": "The network",
    "request": "The whole request",
    "pipeline": "The pipeline",
    "service": "The service",
    "rig": "The simulated rig",
    "rendering": "The synthetic sensor",
}
FOLDER = Path(__file__).resolve().parent
VERDICT = {True: "met", False: "**not met**", None: ""}


def repository() -> list[Row]:
    """Return the size of a clone, measured from its files on disk."""
    root = FOLDER.parent
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.split(b"\0")
    size = sum((root / name.decode()).stat().st_size for name in names if name)
    models = sum(
        path.stat().st_size for path in (root / "models").rglob("*") if path.suffix != ".onnx" or "int8" in path.name
    )
    return [Row("files in the repository", f"{size / 2**20:.1f} MiB, of which models {models / 2**20:.1f} MiB")]


def main() -> None:
    """Run the benchmarks, and print and write the results."""
    chosen = sys.argv[1:] or list(TITLES)
    unknown = sorted(set(chosen) - set(TITLES))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(TITLES)}.")
    console = Console()
    lines = [
        "# Results",
        "",
        f"This page has the speed of each part of adsn. It was measured on {datetime.date.today().isoformat()} with",
        "`python -m benchmarks`. Compared figures were timed in turns in one run, so their ratios are more reliable",
        "than the figures themselves. On another machine, run it again.",
        "",
        *(f"- {name}: {value}" for name, value in describe().items()),
    ]
    sections = {TITLES[name]: importlib.import_module(f"benchmarks.{name}").run() for name in chosen}
    sections["The repository"] = repository()
    for title, rows in sections.items():
        table = Table("what", "measured", "limit", "", "note", title=title, title_justify="left")
        lines += ["", f"## {title}", "", "| what | measured | limit | | note |", "| --- | --- | --- | --- | --- |"]
        for row in rows:
            verdict = VERDICT[row.met]
            table.add_row(row.what, row.value, row.limit, verdict.strip("*"), row.note)
            lines.append(f"| {row.what} | {row.value} | {row.limit} | {verdict} | {row.note} |")
        console.print(table)
    if set(chosen) == set(TITLES):
        (FOLDER / "RESULTS.md").write_text("\n".join(lines) + "\n")
        console.print(f"wrote {FOLDER / 'RESULTS.md'}")
    else:
        console.print("RESULTS.md is written only when everything was measured.")


if __name__ == "__main__":
    main()
