"""Generate a folder in MakeHuman's layout: a patch of a face, two eyeballs, a few morphs, hair, eyebrows and a skin."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np

VERTICES = 19158
"""Number of vertices of MakeHuman's base mesh. Most of them are unused here and lie at the origin."""
GRID = 30
EYES_AT = ((0.31, 7.3, 1.2), (-0.31, 7.3, 1.2))


def base_obj() -> str:
    """Return a base mesh. Vertices 0 to 899 are a bent sheet with the landmarks of the face on it, and 900 to 911 are
    two eyeballs."""
    x, y = np.meshgrid(np.linspace(-0.8, 0.8, GRID), np.linspace(8.4, 5.03, GRID))
    sheet = np.stack([x, y, 1.5 - 0.9 * x**2], 2).reshape(-1, 3)
    corners = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]) * 0.14
    balls = np.concatenate([corners + at for at in EYES_AT])
    vertices = np.zeros((VERTICES, 3))
    vertices[: len(sheet)] = sheet
    vertices[900:912] = balls
    lines = [f"v {a:.5f} {b:.5f} {c:.5f}" for a, b, c in vertices]
    lines += [f"vt {u:.4f} {v:.4f}" for v in np.linspace(1, 0, GRID) for u in np.linspace(0, 1, GRID)]
    lines.append("g body")
    for row in range(GRID - 1):
        for column in range(GRID - 1):
            a = row * GRID + column + 1
            lines.append("f " + " ".join(f"{k}/{k}" for k in (a, a + GRID, a + GRID + 1, a + 1)))
    for name, first in (("helper-l-eye", 901), ("helper-r-eye", 907)):
        lines.append(f"g {name}")
        for a in (0, 1):
            for b in (2, 3):
                lines += [f"f {first + a}/1 {first + b}/1 {first + c}/1" for c in (4, 5)]
    return "\n".join(lines)


def make_folder(root: Path, *, packed: bool = True) -> Path:
    """Write the folder. ``packed``: whether meshes and morphs are compressed with gzip."""

    def write(name: str, text: str) -> None:
        path = root / (name + ".gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())

    write("3dobjs/base.obj", base_obj())
    for sex in ("male", "female"):
        for age in ("young", "old"):
            for ancestry in ("african", "asian", "caucasian"):
                write(f"targets/macrodetails/{ancestry}-{sex}-{age}.target", "10 0.01 0 0\n11 0 0.02 0\n")
            write(f"targets/macrodetails/universal-{sex}-{age}-averagemuscle-averageweight.target", "")
    for k in range(12):
        for end in ("incr", "decr"):
            sign = 1 if end == "incr" else -1
            write(f"targets/nose/nose-part{k}-{end}.target", f"{40 + k} 0 0 {0.05 * sign}\n")
    for ancestry in ("african", "asian", "caucasian"):
        write(f"targets/expression/units/{ancestry}/mouth-open.target", "# opens\n467 0 0.01 0\n495 0 -0.1 0\n")
    for kind, name in (("hair", "short01"), ("hair", "long01"), ("eyebrows", "brow001"), ("eyelashes", "lash001")):
        _proxy(root / kind / name / name)
    for suit in ("male_suit01", "female_suit01"):
        _proxy(root / "clothes" / suit / suit)
    for k in range(4):
        for tone in ("light", "dark"):
            for sex in ("male", "female"):
                skin = root / "skins" / "textures" / f"young_{tone}skinned_{sex}_diffuse{k}.png"
                _picture(skin, (200, 150, 120) if tone == "light" else (90, 60, 45), 64)
    for colour in ("brown", "blue", "green"):
        _picture(root / "eyes" / "materials" / f"{colour}_eye.png", (120, 90, 60), 512)
    return root


def _picture(path: Path, colour: tuple[int, int, int], edge: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((edge, edge, 3), colour[::-1], np.uint8)
    pixels[edge // 2 :] //= 2
    assert cv2.imwrite(str(path), pixels)


def _proxy(stem: Path) -> None:
    """Write a proxy of three vertices on the base mesh, with its mesh and texture."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    stem.with_suffix(".mhclo").write_text(
        f"# made by code\nname {stem.name}\nobj_file {stem.name}.obj\nx_scale 0 29 0.8\ny_scale 0 870 2.4\n"
        "z_scale 0 14 1.0\nverts 0\n 100\n 101 102 103 0.5 0.25 0.25 0.1 0.0 0.0\n 104\ndelete_verts\n 200 - 203 210\n"
    )
    rgba = np.full((16, 16, 4), 80, np.uint8)
    rgba[:, :, 3] = 255
    assert cv2.imwrite(str(stem.parent / f"{stem.name}_diffuse.png"), rgba)
