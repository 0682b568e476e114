"""MakeHuman's text files: meshes with groups and texture coordinates, morph targets, proxies.

Lengths in the files are decimetres, y up, z out of the face. A file may be compressed with gzip.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthetic.arrays import Array

Indices = NDArray[np.int64]


class MakeHumanError(ValueError):
    """MakeHuman's assets are missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class ObjMesh:
    """A mesh whose vertices are duplicated along texture seams.

    ``vertices`` float32 [n, 3] as in the file. ``corners`` int64 [m, 2]: vertex and texture coordinate of each render
    vertex. ``uv`` float32 [m, 2], V upwards. ``triangles`` group → int64 [k, 3], indices of ``corners``.
    """

    vertices: Array
    corners: Indices
    uv: Array
    triangles: dict[str, Indices]

    def all_triangles(self) -> Indices:
        """Return the triangles of every group, int64 [k, 3]."""
        return np.concatenate(list(self.triangles.values()))


@dataclass(frozen=True, slots=True)
class Target:
    """A sparse morph: ``at`` int64 [k] base vertices, ``offset`` float32 [k, 3] at full strength."""

    at: Indices
    offset: Array


@dataclass(frozen=True, slots=True)
class Proxy:
    """Attachment of a mesh to the base mesh.

    ``at`` int64 [n, 3], ``weights`` float32 [n, 3], ``offset`` float32 [n, 3]. ``scales``: for x, y and z, the two base
    vertices whose distance along that axis, divided by the third number, scales the offset. ``hidden``: base vertices
    covered by the mesh.
    """

    obj: str
    at: Indices
    weights: Array
    offset: Array
    scales: tuple[tuple[int, int, float] | None, ...]
    hidden: Indices

    def fit(self, base: Array) -> Array:
        """Fit the proxy to base vertices [m, 3]; return its vertices, float32 [n, 3]."""
        size = np.ones(3, np.float32)
        for axis, scale in enumerate(self.scales):
            if scale is not None:
                first, second, reference = scale
                size[axis] = abs(base[first, axis] - base[second, axis]) / reference
        fitted: Array = np.einsum("nk,nkd->nd", self.weights, base[self.at]) + self.offset * size
        return fitted.astype(np.float32)


def read_text(path: Path) -> str:
    """Return a file's text, decompressed if its name ends in ``.gz``.

    Raises:
        MakeHumanError: it cannot be read.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise MakeHumanError(f"{path}: cannot be read: {error}") from error
    return data.decode("utf-8", errors="replace")


def read_mesh(path: Path) -> ObjMesh:
    """Read a Wavefront OBJ file with groups and texture coordinates; polygons become fans.

    Raises:
        MakeHumanError: it cannot be read, or a line is malformed; the message names file and line.
    """
    vertices: list[tuple[float, ...]] = []
    texture: list[tuple[float, ...]] = []
    corner_of: dict[tuple[int, int], int] = {}
    groups: dict[str, list[tuple[int, int, int]]] = {}
    group = ""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                vertices.append((float(words[1]), float(words[2]), float(words[3])))
            elif words[0] == "vt":
                texture.append((float(words[1]), float(words[2])))
            elif words[0] == "g":
                group = words[1] if len(words) > 1 else ""
            elif words[0] == "f":
                face = [corner_of.setdefault(_corner(word), len(corner_of)) for word in words[1:]]
                groups.setdefault(group, []).extend((face[0], b, c) for b, c in pairwise(face[1:]))
        except (ValueError, IndexError):
            raise MakeHumanError(f"{path}:{number}: not a line of an OBJ file: {line[:60]!r}") from None
    corners = np.array(list(corner_of), np.int64).reshape(-1, 2)
    if not len(corners):
        raise MakeHumanError(f"{path}: no faces; is it a mesh?")
    coordinates = np.array([*texture, (0.0, 0.0)], np.float32)
    if corners[:, 0].max() >= len(vertices) or corners[:, 1].max() >= len(coordinates):
        raise MakeHumanError(f"{path}: a face names a vertex that is not there; the file is cut short.")
    return ObjMesh(
        vertices=np.array(vertices, np.float32),
        corners=corners,
        uv=coordinates[corners[:, 1]],
        triangles={name: np.array(found, np.int64) for name, found in groups.items() if found},
    )


def _corner(word: str) -> tuple[int, int]:
    """Return vertex and texture coordinate of a face's corner, from 0; the coordinate is -1 if absent."""
    parts = word.split("/")
    return int(parts[0]) - 1, (int(parts[1]) if len(parts) > 1 and parts[1] else 0) - 1


def read_target(path: Path) -> Target:
    """Read a morph target; an empty file is the neutral target.

    Raises:
        MakeHumanError: it cannot be read or is not a target.
    """
    lines = (line for line in read_text(path).splitlines() if not line.lstrip().startswith("#"))
    try:
        table = np.array(" ".join(lines).split(), np.float32).reshape(-1, 4)
    except ValueError:
        raise MakeHumanError(f"{path}: not a morph target; a line is: vertex dx dy dz.") from None
    return Target(table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:]))


def read_proxy(path: Path) -> Proxy:
    """Read a ``.mhclo`` file.

    Raises:
        MakeHumanError: it cannot be read or names no mesh.
    """
    obj, scales, hidden = "", [None, None, None], list[int]()
    rows: list[tuple[float, ...]] = []
    section = ""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] in ("x_scale", "y_scale", "z_scale"):
                scales["xyz".index(words[0][0])] = (int(words[1]), int(words[2]), float(words[3]))  # type: ignore[call-overload]
            elif words[0] == "obj_file":
                obj = words[1]
            elif words[0] in ("verts", "delete_verts", "weights"):
                section = words[0]
            elif section == "verts" and _numeric(words[0]):
                rows.append(_fitting(words))
            elif section == "delete_verts" and _numeric(words[0]):
                hidden += _ranges(words)
        except (ValueError, IndexError):
            raise MakeHumanError(f"{path}:{number}: not a line of a proxy file: {line[:60]!r}") from None
    if not obj or not rows:
        raise MakeHumanError(f"{path}: names no mesh or no vertices; is it a proxy (.mhclo)?")
    table = np.array(rows, np.float64)
    return Proxy(
        obj=obj,
        at=table[:, :3].astype(np.int64),
        weights=table[:, 3:6].astype(np.float32),
        offset=table[:, 6:].astype(np.float32),
        scales=tuple(scales),
        hidden=np.array(hidden, np.int64),
    )


def _numeric(word: str) -> bool:
    return word.lstrip("-").isdigit()


def _fitting(words: list[str]) -> tuple[float, ...]:
    """Return a vertex's nine numbers: three base vertices, their weights, an offset."""
    if len(words) == 1:
        return (float(words[0]),) * 3 + (1.0, 0.0, 0.0) + (0.0,) * 3
    if len(words) < 9:
        raise ValueError
    return tuple(float(word) for word in words[:9])


def _ranges(words: list[str]) -> list[int]:
    """Return the vertices of ``5 9 - 12 20``."""
    found: list[int] = []
    k = 0
    while k < len(words):
        if k + 2 < len(words) and words[k + 1] == "-":
            found += range(int(words[k]), int(words[k + 2]) + 1)
            k += 3
        else:
            found.append(int(words[k]))
            k += 1
    return found
