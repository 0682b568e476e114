"""Draw ``docs/architecture.svg``: the import rules, from the contracts in pyproject.toml that import-linter checks.

Run ``python -m docs.make.architecture``. There is an arrow from a folder to each folder that no contract forbids it to
import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DRAWING = ROOT / "docs" / "architecture.svg"
PLACES = {
    "service": (560, 20),
    "export": (80, 20),
    "calib": (320, 20),
    "adsn": (80, 200),
    "runtime": (560, 200),
    "synthetic": (320, 300),
}
"""Left and top edge of the box of each folder. A new folder needs an entry."""
WORDS = {
    "service": "HTTP, kiosk, console",
    "export": "checkpoint to bundle",
    "calib": "ranges, threshold, geometry",
    "adsn": "network, data, training",
    "runtime": "camera to decision",
    "synthetic": "the world, simulated",
}
HEAVY = ("torch", "onnx")
WIDTH, HEIGHT = 180, 56
Edges = dict[tuple[str, str], str]


def linter() -> dict[str, Any]:
    """Return the section of pyproject.toml for import-linter."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return found


def forbidding(rules: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the contracts that forbid a folder to import others. Contracts on layers apply inside a folder and are
    left out."""
    return [contract for contract in rules["contracts"] if contract["type"] == "forbidden"]


def allowed(rules: dict[str, Any] | None = None) -> Edges:
    """Return (importer, imported) → the only part of the importer that may import the other; "" for all parts."""
    rules = rules or linter()
    houses: list[str] = list(rules["root_packages"])
    edges = {(a, b): "" for a in houses for b in houses if a != b}
    for contract in forbidding(rules):
        for source in contract["source_modules"]:
            for target in contract["forbidden_modules"]:
                if (source, target) in edges:
                    del edges[source, target]
            for exception in contract.get("ignore_imports", ()):
                importer, _, imported = exception.partition(" -> ")
                pair = importer.partition(".")[0], imported.partition(".")[0]
                if pair[0] == source and pair[0] != pair[1]:
                    edges[pair] = f"only {importer}"
    forbidden_parts = {
        (source, target.partition(".")[0])
        for contract in forbidding(rules)
        for source in contract["source_modules"]
        for target in contract["forbidden_modules"]
        if target.count(".") and target.partition(".")[0] in houses
    }
    return {pair: said or ("in part" if pair in forbidden_parts else "") for pair, said in edges.items()}


def without_heavy(rules: dict[str, Any] | None = None) -> set[str]:
    """Return the folders that are forbidden to import any package in `HEAVY`."""
    rules = rules or linter()
    return {
        house
        for house in rules["root_packages"]
        if all(
            any(
                house in contract["source_modules"] and package in contract["forbidden_modules"]
                for contract in forbidding(rules)
            )
            for package in HEAVY
        )
    }


def border(name: str, towards: str) -> tuple[float, float]:
    """Return the point at which the line between the centres of two boxes leaves the first box."""
    x, y = PLACES[name][0] + WIDTH / 2, PLACES[name][1] + HEIGHT / 2
    dx, dy = PLACES[towards][0] + WIDTH / 2 - x, PLACES[towards][1] + HEIGHT / 2 - y
    scale = min(WIDTH / 2 / abs(dx) if dx else 9e9, HEIGHT / 2 / abs(dy) if dy else 9e9)
    return x + dx * scale, y + dy * scale


def svg(edges: Edges, light: set[str]) -> str:
    """Return the drawing as SVG."""
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 410" role="img" font-family="sans-serif"'
        ' font-size="13">',
        "<title>Which folder may import which</title>",
        "<style>.box{fill:#eef3f4;stroke:#37626b}.light{fill:#dff0e6}text{fill:#1c2b2e}.soft{fill:#4b5f63;font-size:11px}"
        "path{stroke:#37626b;fill:none;stroke-width:1.3}.part{stroke-dasharray:5 4}.tip{fill:#37626b}"
        "@media (prefers-color-scheme:dark){.ground{fill:#10181a}.box{fill:#22343a;stroke:#7fb3bd}.light{fill:#1d3b2b}"
        "text{fill:#e6f0f1}.soft{fill:#a9bfc3}path{stroke:#7fb3bd}.tip{fill:#7fb3bd}}.ground{fill:#fff}"
        "@media (prefers-color-scheme:dark){.ground{fill:#10181a}}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="tip" d="M0 0L8 4L0 8z" stroke="none"/></marker></defs>',
        '<rect class="ground" width="760" height="410" rx="6"/>',
    ]
    for (importer, imported), said in sorted(edges.items()):
        (x0, y0), (x1, y1) = border(importer, imported), border(imported, importer)
        name = f"{importer} may import {imported}" + (f" ({said})" if said else "")
        out.append(
            f'<path{" class=" + chr(34) + "part" + chr(34) if said else ""} d="M{x0:.0f} {y0:.0f}L{x1:.0f} {y1:.0f}"'
            f' marker-end="url(#tip)"><title>{name}</title></path>'
        )
    for name, (x, y) in PLACES.items():
        kind = "box light" if name in light else "box"
        out.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + 24}" text-anchor="middle" font-weight="bold">{name}</text>'
            f'<text class="soft" x="{x + WIDTH / 2:.0f}" y="{y + 42}" text-anchor="middle">{WORDS[name]}</text>'
        )
    out.append(
        '<text class="soft" x="20" y="382">An arrow: may import. Dashed: a part of it, or in one module alone. '
        "Green: runs without torch and onnx.</text>"
    )
    out.append('<text class="soft" x="20" y="399">Drawn from the contracts in pyproject.toml.</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def drawing() -> str:
    """Return the drawing of the current contracts.

    Raises:
        LookupError: a folder is missing in `PLACES`.
    """
    rules = linter()
    homeless = set(rules["root_packages"]) ^ set(PLACES)
    if homeless:
        raise LookupError(f"give {', '.join(sorted(homeless))} a place in the drawing, or take it out")
    return svg(allowed(rules), without_heavy(rules))


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
