"""Cache of rendered sets as memory-mapped arrays, so that training does not wait for rendering.

The name of a folder is a digest of the specification and of the source code of renderer and cropper, so training never
uses pixels from an older renderer.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

import runtime.imaging.crop
import synthetic
from adsn.datasets.base import DatasetError
from adsn.datasets.pairs import PairDataset, Sample, SyntheticPairs, SyntheticSpec
from runtime.core.files import draft_folder

CHUNK = 64
CHANNELS: dict[str, tuple[int, Any]] = {"rgb": (3, np.uint8), "ir": (1, np.uint8), "depth": (1, np.float32)}


def code_digest() -> str:
    """Return the SHA-256 of the source code that determines the rendered pixels."""
    h = hashlib.sha256()
    root = Path(str(synthetic.__file__)).parent
    # Path-traced pairs are stored elsewhere, and their renderer does not affect these pixels.
    others = (root / "pathtraced", root / "people" / "makehuman")
    files = sorted(path for path in root.rglob("*.py") if not any(path.is_relative_to(other) for other in others))
    for path in [*files, Path(str(runtime.imaging.crop.__file__))]:
        h.update(path.name.encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def cache_key(spec: SyntheticSpec) -> str:
    """Return the name of the folder for ``spec``, 24 hexadecimal digits.

    Raises:
        DatasetError: ``spec`` needs the face model, and it is missing or cannot be read.
    """
    try:
        model = synthetic.load_face_model().sha256 if "scan" in spec.shapes else None
    except synthetic.FaceModelError as error:
        raise DatasetError(
            f'{spec.name}: {str(error).rstrip(".")}. Or render without it: shapes = ["analytic"] in the recipe or plan.'
        ) from error
    text = json.dumps([spec.to_json(), code_digest(), model, np.__version__, cv2.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _render_chunk(task: tuple[SyntheticSpec, int, int]) -> tuple[int, list[Sample]]:
    spec, start, stop = task
    cv2.setNumThreads(1)
    pairs = SyntheticPairs(spec)
    return start, [pairs[i] for i in range(start, stop)]


class CachedPairs:
    """`PairDataset` of a folder of arrays. Open it with `open_cache` or `store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self._name: str = index["name"]
        self._digest: str = index["digest"]
        self._rows: list[dict[str, Any]] = index["rows"]
        self.arrays: dict[str, NDArray[Any]] = {
            m: np.load(folder / f"{m}.npy", mmap_mode="r") for m in CHANNELS if (folder / f"{m}.npy").exists()
        }

    @property
    def name(self) -> str:
        return self._name

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        """Return all samples without their images: label, species, subject, presentation, sensor and conditions."""
        return self._rows

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack."""
        return np.array([row["label"] for row in self._rows], np.int64)

    def species(self) -> list[str]:
        """Return the species of every pair, ``bona_fide`` for faces."""
        return [str(row["species"]) for row in self._rows]

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        return Sample(crops={m: a[index] for m, a in self.arrays.items()}, **row)

    def digest(self) -> str:
        return self._digest


def open_cache(
    spec: SyntheticSpec, root: Path, *, workers: int = 2, tick: Callable[[int], None] = lambda n: None
) -> CachedPairs:
    """Open the rendered set of ``spec`` in ``root``. If it is missing, render it first.

    ``tick``: called with the number of samples finished since the last call. The folder is written under a temporary
    name and then renamed, so that it is never incomplete.
    """
    return _whole(root / cache_key(spec), lambda beside: _render(spec, beside, workers, tick))


def store(pairs: PairDataset, root: Path, *, tick: Callable[[int], None] = lambda n: None) -> CachedPairs:
    """Open the crops of a set on disk as arrays in ``root``. If they are missing, decode every image once.

    The name of the folder is the digest of the set, so changed files are decoded again.

    Raises:
        DatasetError: an image cannot be read. Nothing is stored.
    """
    text = json.dumps([pairs.name, pairs.digest(), code_digest(), cv2.__version__])
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    return _whole(root / key, lambda beside: _decode(pairs, beside, tick))


def _whole(folder: Path, make: Callable[[Path], None]) -> CachedPairs:
    """Open ``folder``. If it is missing, let ``make`` fill a temporary folder, and rename that."""
    if not (folder / "index.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(folder) as draft:
            try:
                make(draft)
                os.replace(draft, folder)
            except OSError:
                # Another process has finished the same set first. Its bytes are the same.
                if not (folder / "index.json").exists():
                    raise
    return CachedPairs(folder)


def _decode(pairs: PairDataset, folder: Path, tick: Callable[[int], None]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    rows: list[dict[str, Any]] = []
    for i in range(len(pairs)):
        sample = pairs[i]
        for modality, crop in sample.crops.items():
            if modality not in arrays:
                shape = (len(pairs), *crop.shape)
                arrays[modality] = _new_array(folder, modality, crop.dtype, shape)
            arrays[modality][i] = crop
        rows.append(_row(sample))
        tick(1)
    _index(folder, pairs.name, arrays, rows, {"digest": pairs.digest()})


def _new_array(folder: Path, modality: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.open_memmap(folder / f"{modality}.npy", mode="w+", dtype=dtype, shape=shape)
    return array


def _row(sample: Sample) -> dict[str, Any]:
    """Return a sample without its images, for the index."""
    return {
        "label": sample.label,
        "species": sample.species,
        "subject": sample.subject,
        "presentation": sample.presentation,
        "sensor": sample.sensor,
        "conditions": dict(sample.conditions),
    }


def _index(
    folder: Path, name: str, arrays: dict[str, NDArray[Any]], rows: list[dict[str, Any]], source: dict[str, Any]
) -> None:
    """Write the index: digest of the bytes of all arrays, one row per sample, and the source of the set."""
    h = hashlib.sha256()
    for modality in sorted(arrays):
        cast(np.memmap[Any, Any], arrays[modality]).flush()
        h.update(np.ascontiguousarray(arrays[modality]).data)
    (folder / "index.json").write_text(
        json.dumps({"name": name, "digest": h.hexdigest(), "spec": source, "rows": rows})
    )


def _render(spec: SyntheticSpec, folder: Path, workers: int, tick: Callable[[int], None]) -> None:
    total, size = len(SyntheticPairs(spec)), spec.rule.size
    arrays = {
        m: _new_array(folder, m, dtype, (total, size, size, channels)) for m, (channels, dtype) in CHANNELS.items()
    }
    rows: list[dict[str, Any]] = [{} for _ in range(total)]
    tasks = [(spec, start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    # Use spawn, not fork, because the parent may already have started the thread pools of torch and OpenCV.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for start, samples in pool.imap_unordered(_render_chunk, tasks):
            for i, sample in enumerate(samples, start):
                for modality, array in arrays.items():
                    array[i] = sample.crops[modality]
                rows[i] = _row(sample)
            tick(len(samples))
    _index(folder, spec.name, arrays, rows, spec.to_json())
