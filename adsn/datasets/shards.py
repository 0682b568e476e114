"""Path-traced pairs on disk: one file per subject, written in the background and read as a data set.

The name of a folder is a digest of the specification, the version of the renderer and the assets, so versions are never
mixed. A file is written under a temporary name and then renamed, so rendering can be stopped at any time and continued
later.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.base import DatasetError
from adsn.datasets.pairs import BONA_FIDE, Patch, Sample, jittered
from runtime.core.files import write_atomically
from runtime.imaging.crop import CropRule
from synthetic import PATH_TRACED_SPECIES, Presentation, pathtraced
from synthetic.people.makehuman import Library, open_library

DETECTED = 0.93
"""Median edge of the default detector's box on path-traced bona fide faces, relative to the renderer's box: 0.94 in RGB
(124 images) and 0.915 in IR (101 images). With this factor, crops are cut as they would be with the detector's box."""
ENDING = ".npz"
SPEC = "spec.json"


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """Specification of a set of path-traced pairs.

    ``subjects``: first and one past the last subject number. ``bona_fide``, ``per_attack``: number of presentations of
    each subject; the camera families in ``families`` are used in turn. ``size``: edge of the stored patches in pixels.
    ``samples``: paths per pixel.
    """

    subjects: tuple[int, int]
    bona_fide: int = 9
    per_attack: int = 2
    seed: int = 0
    families: tuple[str, ...] = ("A",)
    species: tuple[str, ...] = field(default=tuple(PATH_TRACED_SPECIES[1:]))
    size: int = 144
    samples: int = pathtraced.SAMPLES

    def __post_init__(self) -> None:
        unknown = sorted(set(self.species) - set(PATH_TRACED_SPECIES[1:]))
        if unknown:
            raise DatasetError(f"unknown species {unknown}; known are {list(PATH_TRACED_SPECIES[1:])}.")
        if self.subjects[1] <= self.subjects[0] or min(self.subjects[0], self.bona_fide, self.per_attack) < 0:
            raise DatasetError(f"subjects {self.subjects}: needs a first below the last, and no negative count.")

    def plan(self) -> list[tuple[str, int]]:
        """Return species and index of every presentation of a subject."""
        counts = [(BONA_FIDE, self.bona_fide), *((species, self.per_attack) for species in self.species)]
        return [(species, number) for species, count in counts for number in range(count)]

    def key(self, library: Library) -> str:
        """Return the name of the folder for the set, 24 hexadecimal digits."""
        # The range of subjects is left out, so that a larger range adds files to the same folder.
        values = {name: value for name, value in asdict(self).items() if name != "subjects"}
        text = json.dumps([values, pathtraced.VERSION, library.digest()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def write_shards(
    spec: ShardSpec,
    root: Path,
    *,
    part: tuple[int, int] = (0, 1),
    library: Library | None = None,
    tick: Callable[[int], None] = lambda subject: None,
) -> Path:
    """Render the missing files of a set in a folder in ``root``, and return that folder.

    ``part``: (k, n) renders the k-th of every n subjects, for n parallel processes. ``tick``: called with the number of
    each finished subject.

    Raises:
        MakeHumanError, RenderError: people or path tracing are not available.
    """
    assets = library or open_library()
    folder = root / spec.key(assets)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
    for subject in range(spec.subjects[0] + part[0], spec.subjects[1], part[1]):
        path = folder / f"{subject:06d}{ENDING}"
        if not path.exists():
            write_arrays(path, _rendered(spec, subject, assets))
            tick(subject)
    return folder


def _rendered(spec: ShardSpec, subject: int, library: Library) -> dict[str, NDArray[Any]]:
    """Render a subject, and return the arrays for its file."""
    columns: dict[str, list[Any]] = {name: [] for name in ("rgb", "ir", "depth", "box", "ir_box")}
    rows: list[dict[str, Any]] = []
    for k, (species, number) in enumerate(spec.plan()):
        family = spec.families[k % len(spec.families)]
        presentation = Presentation(seed=spec.seed, subject=subject, species=species, family=family, number=number)
        what = pathtraced.describe(presentation)
        found = pathtraced.render(what, size=spec.size, samples=spec.samples, library=library)
        columns["rgb"].append(found.rgb)
        columns["ir"].append(found.ir)
        columns["depth"].append(np.clip(found.depth, 0, 65535).astype(np.uint16))
        columns["box"].append(found.box)
        columns["ir_box"].append(found.ir_box)
        rows.append(
            {
                "label": found.label,
                "species": species,
                "subject": str(subject),
                "presentation": f"{species}-{subject}-{number}",
                "sensor": family,
                "conditions": dict(found.conditions),
            }
        )
    arrays: dict[str, NDArray[Any]] = {name: np.stack(values) for name, values in columns.items()}
    return {**arrays, "rows": np.frombuffer(json.dumps(rows).encode(), np.uint8)}


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as one compressed file, atomically."""
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]  # the stub takes the names for its flag
    write_atomically(path, data.getvalue())


def shard_folder(root: Path) -> Path:
    """Return the folder with the files of the subjects: ``root`` itself, or its only subfolder that contains a set.

    Raises:
        DatasetError: ``root`` is missing, or contains no set or several.
    """
    if (root / SPEC).is_file():
        return root
    found = sorted(path.parent for path in root.glob(f"*/{SPEC}"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise DatasetError(
            f"{root}: no path-traced pairs. Render some with python -m adsn.cli.render {root}, or take the table with "
            'dataset = "pathtraced" out of the recipe or plan.'
        )
    raise DatasetError(f"{root}: contains {len(found)} sets. Pass one of them, such as {found[0]}.")


class ShardPairs:
    """`PairDataset` of the files that are in a folder when it is opened.

    ``box_jitter`` and ``misregistration``: see `adsn.datasets.pairs.SyntheticSpec`. ``subjects``: range of the subjects
    to use.

    Raises:
        DatasetError: the folder contains no file in the range, or a file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "pathtraced",
        subjects: tuple[int, int] | None = None,
        box_jitter: float = 0.05,
        misregistration: float = 0.05,
        rule: CropRule | None = None,
    ) -> None:
        self._name, self._rule = name, rule or CropRule()
        self._jitter, self._misregistration = box_jitter, misregistration
        low, high = subjects or (0, 1 << 62)
        paths = sorted(p for p in folder.glob(f"[0-9]*{ENDING}") if p.stem.isdigit() and low <= int(p.stem) < high)
        if not paths:
            raise DatasetError(f"{folder}: no rendered subjects; render some with python -m adsn.cli.render.")
        self._files = [_read(path) for path in paths]
        self._index = [(f, k) for f, (_, rows) in enumerate(self._files) for k in range(len(rows))]
        self._digest = hashlib.sha256()
        for path in paths:
            self._digest.update(path.read_bytes())

    @property
    def name(self) -> str:
        return self._name

    def __len__(self) -> int:
        return len(self._index)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for _, rows in self._files:
            yield from rows

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack."""
        return np.array([row["label"] for row in self._rows()], np.int64)

    def species(self) -> list[str]:
        """Return the species of every sample."""
        return [str(row["species"]) for row in self._rows()]

    def __getitem__(self, index: int) -> Sample:
        at, k = self._index[index]
        return Sample(crops=self.patch(index).crops(self._rule), **self._files[at][1][k])

    def patch(self, index: int) -> Patch:
        """Return the images and boxes from which the crops of a sample are cut."""
        at, k = self._index[index]
        arrays, rows = self._files[at]
        rng = np.random.default_rng([0x77, int(rows[k]["subject"]), k])
        shift, scale = rng.normal(0, self._jitter, 2), DETECTED * float(np.exp(rng.normal(0, self._jitter)))
        offset = rng.uniform(-self._misregistration, self._misregistration, 2)
        ir_box = jittered(arrays["ir_box"][k], shift + offset, scale)
        boxes = {"rgb": jittered(arrays["box"][k], shift, scale), "ir": ir_box, "depth": ir_box}
        depth = arrays["depth"][k].astype(np.float32)
        return Patch({"rgb": arrays["rgb"][k], "ir": arrays["ir"][k], "depth": depth}, boxes)

    def digest(self) -> str:
        """Return a SHA-256 over the bytes of all files, the crop rule and the jitter of the boxes."""
        h = self._digest.copy()
        h.update(f"{self._rule} {self._jitter} {self._misregistration} {DETECTED}".encode())
        return h.hexdigest()


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("rgb", "ir", "depth", "box", "ir_box")}
            rows: list[dict[str, Any]] = json.loads(file["rows"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a file of path-traced pairs, or damaged: {error}. Delete it.") from None
    return arrays, rows
