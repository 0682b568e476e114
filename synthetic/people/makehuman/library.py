"""Locates MakeHuman's assets and reads each of them once."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.people.makehuman.files import MakeHumanError, ObjMesh, Proxy, Target, read_mesh, read_proxy, read_target
from synthetic.people.scan import VARIABLE as FACE_MODEL
from synthetic.people.scan import FaceModel, load

VARIABLE = "ADSN_MAKEHUMAN"
SUBFOLDERS = ("", "base", "data")
"""Subfolders of a named folder that may hold the assets: ``base`` in a clone of makehuman-assets, ``data`` in
MakeHuman."""
PICTURES = (".png", ".jpg", ".jpeg")
TEXTURE_EDGE = 512
"""Edge of hair and clothes textures in pixels: the finest visible in an image of a face."""
BASE_VERTICES = 19158
HELD_BACK = 0.25
"""Share of morphs reserved for test people."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedProxy:
    """A proxy with its mesh and its texture: ``picture`` uint8 [h, w, 4] RGBA, or None where it has none."""

    name: str
    proxy: Proxy
    mesh: ObjMesh
    picture: NDArray[np.uint8] | None


@dataclass(eq=False)
class Library:
    """MakeHuman's assets in one or several folders; if a name occurs twice, the first folder takes precedence.

    Raises:
        MakeHumanError: the base mesh is missing or has another topology.
    """

    folders: tuple[Path, ...]
    base: ObjMesh = field(init=False)

    def __post_init__(self) -> None:
        found = self._first("3dobjs/base.obj.gz") or self._first("3dobjs/base.obj")
        if found is None:
            raise MakeHumanError(
                f"{os.pathsep.join(map(str, self.folders))}: no 3dobjs/base.obj; {VARIABLE} must name MakeHuman's "
                f"folder data, or several folders separated by {os.pathsep!r}."
            )
        self.base = read_mesh(found)
        missing = [g for g in ("body", "helper-l-eye", "helper-r-eye") if g not in self.base.triangles]
        if len(self.base.vertices) < BASE_VERTICES or missing:
            raise MakeHumanError(
                f"{found}: {len(self.base.vertices)} vertices, groups missing: {missing or 'none'}; expected "
                f"MakeHuman's base mesh hm08 with {BASE_VERTICES} vertices."
            )
        self._targets: dict[str, Target] = {}
        self._worn: dict[str, LoadedProxy] = {}

    def _first(self, name: str) -> Path | None:
        return next((f / name for f in self.folders if (f / name).is_file()), None)

    def _listed(self, folder: str, endings: tuple[str, ...]) -> dict[str, Path]:
        """Return the files below ``folder`` in all folders: name without extension → path."""
        found: dict[str, Path] = {}
        for root in self.folders:
            for path in sorted((root / folder).rglob("*")):
                ending = next((e for e in endings if path.name.endswith(e)), None)
                if ending is not None:
                    relative = str(path.relative_to(root / folder))
                    found.setdefault(relative[: -len(ending)], path)
        return dict(sorted(found.items()))

    @functools.cached_property
    def target_files(self) -> dict[str, Path]:
        """Every morph target: ``head/head-oval`` → file."""
        found = self._listed("targets", (".target.gz", ".target"))
        if not found:
            raise MakeHumanError(f"{self.folders[0]}: no targets/**/*.target; the morph targets are missing.")
        return found

    @functools.cached_property
    def skins(self) -> dict[str, Path]:
        """Every skin photograph by name."""
        found = {name: path for name, path in self._listed("skins", PICTURES).items() if "diffuse" in name}
        if not found:
            raise MakeHumanError(f"{self.folders[0]}: no skins/textures/*_diffuse.jpg or .png; the skins are missing.")
        return found

    @functools.cached_property
    def irises(self) -> dict[str, Path]:
        """Every eye texture by name."""
        found = {name: path for name, path in self._listed("eyes", PICTURES).items() if name.endswith("_eye")}
        if not found:
            raise MakeHumanError(f"{self.folders[0]}: no eyes/materials/*_eye.png; the eyes are missing.")
        return found

    @functools.cached_property
    def face_model(self) -> FaceModel | None:
        """The face model that the environment names, or None.

        Raises:
            FaceModelError: it is named, but missing or damaged.
        """
        return load() if os.environ.get(FACE_MODEL) else None

    def proxies(self, kind: str) -> dict[str, Path]:
        """Every proxy of a ``kind`` of ``hair``, ``eyebrows``, ``eyelashes``, ``clothes``; may be empty."""
        return self._listed(kind, (".mhclo",))

    def target(self, name: str) -> Target:
        """Return a morph target by its path below ``targets`` without ending.

        Raises:
            MakeHumanError: it does not exist, or belongs to another base mesh.
        """
        if name not in self._targets:
            if name not in self.target_files:
                raise MakeHumanError(f"{self.folders[0]}: no morph target {name!r} below targets.")
            found = read_target(self.target_files[name])
            if len(found.at) and found.at.max() >= len(self.base.vertices):
                raise MakeHumanError(f"{self.target_files[name]}: names vertices that the base mesh does not have.")
            self._targets[name] = found
        return self._targets[name]

    def worn(self, kind: str, name: str) -> LoadedProxy:
        """Return a proxy with its mesh and texture.

        Raises:
            MakeHumanError: it does not exist, or its mesh is missing or has another number of vertices.
        """
        key = f"{kind}/{name}"
        if key not in self._worn:
            path = self.proxies(kind).get(name)
            if path is None:
                raise MakeHumanError(f"{self.folders[0]}: no proxy {name!r} below {kind}.")
            proxy = read_proxy(path)
            obj = path.parent / proxy.obj
            mesh = read_mesh(obj if obj.exists() else obj.with_name(obj.name + ".gz"))
            if len(mesh.vertices) != len(proxy.at) or proxy.at.max() >= len(self.base.vertices):
                raise MakeHumanError(f"{path}: does not fit {obj.name} with {len(mesh.vertices)} vertices.")
            self._worn[key] = LoadedProxy(name, proxy, mesh, _texture(path))
        return self._worn[key]

    def digest(self) -> str:
        """Return a SHA-256 over the names and sizes of all assets: a different collection gives different people."""
        h = hashlib.sha256()
        kinds = [self.proxies(kind) for kind in ("hair", "eyebrows", "eyelashes", "clothes")]
        for files in (self.target_files, self.skins, self.irises, *kinds):
            for name, path in files.items():
                h.update(f"{name}\0{path.stat().st_size}\0".encode())
        if self.face_model is not None:
            h.update(self.face_model.sha256.encode())
        return h.hexdigest()


def open_library(path: str | None = None) -> Library:
    """Open the assets in ``path``, else in the folders named by the environment variable; each set of folders is read
    once.

    Raises:
        MakeHumanError: neither is given, a folder is missing, or it holds no base mesh.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
        raise MakeHumanError(f"path-traced people need MakeHuman's assets (CC0). Set {VARIABLE} to its folder data.")
    folders = [Path(part) for part in named.split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise MakeHumanError(f"{folder}: no such folder; {VARIABLE} must name MakeHuman's folder data.")
    return _open(tuple(f / sub for f in folders for sub in SUBFOLDERS if (f / sub).is_dir()))


@functools.lru_cache(maxsize=2)
def _open(folders: tuple[Path, ...]) -> Library:
    return Library(folders)


def _texture(proxy: Path) -> NDArray[np.uint8] | None:
    """Return the diffuse texture beside a proxy."""
    pictures = [p for p in sorted(proxy.parent.iterdir()) if p.suffix.lower() in PICTURES]
    named = [p for p in pictures if "diffuse" in p.stem or p.stem == proxy.stem]
    return read_picture(named[0], TEXTURE_EDGE) if named else None


def read_picture(path: Path, edge: int | None = None) -> NDArray[np.uint8]:
    """Return a texture uint8 [h, w, 4] RGBA, ``edge`` pixels square where given.

    Raises:
        MakeHumanError: it is not an image.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise MakeHumanError(f"{path}: cannot be read: {error.strerror}") from error
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if decoded is None or decoded.dtype != np.uint8:
        raise MakeHumanError(f"{path}: not an 8-bit picture.")
    code = {2: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}
    channels = 2 if decoded.ndim == 2 else decoded.shape[2]
    rgba = cv2.cvtColor(decoded, code[channels])
    if edge is not None and rgba.shape[:2] != (edge, edge):
        rgba = cv2.resize(rgba, (edge, edge), interpolation=cv2.INTER_AREA)
    return np.asarray(rgba, np.uint8)


def is_reserved(name: str) -> bool:
    """Return whether a morph is reserved for test people."""
    return hashlib.sha256(name.encode()).digest()[0] < 256 * HELD_BACK


def choices(names: list[str], *, reserved: bool) -> list[str]:
    """Return the ``names`` available to training or test people: every third is held back for testing.

    A single name is available to both.
    """
    ordered = sorted(names)
    apart = ordered[2::3] or ordered[-1:]
    common = [name for name in ordered if name not in apart] or ordered
    return apart if reserved else common
