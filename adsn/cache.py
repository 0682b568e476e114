"""A rendered set written once to memory-mapped arrays, so that training is not bound by rendering.

Addressed by content: the folder's name is a digest of the specification and of the renderer's and the
cropper's source, so a changed renderer can never be trained on stale pixels.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import runtime.preprocess
import synthetic
from adsn.data import Sample, SyntheticPairs, SyntheticSpec

CHUNK = 64
CHANNELS: dict[str, tuple[int, Any]] = {"rgb": (3, np.uint8), "ir": (1, np.uint8), "depth": (1, np.float32)}


def code_digest() -> str:
    """SHA-256 of the source that decides what a rendered crop looks like."""
    h = hashlib.sha256()
    files = sorted(Path(str(synthetic.__file__)).parent.glob("*.py"))
    for path in [*files, Path(str(runtime.preprocess.__file__))]:
        h.update(path.name.encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def cache_key(spec: SyntheticSpec) -> str:
    """Name of the folder that holds ``spec``, 24 hexadecimal digits."""
    model = synthetic.load_face_model().sha256 if "scan" in spec.shapes else None
    text = json.dumps([spec.to_json(), code_digest(), model, np.__version__, cv2.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _render_chunk(task: tuple[SyntheticSpec, int, int]) -> tuple[int, list[Sample]]:
    spec, start, stop = task
    cv2.setNumThreads(1)
    pairs = SyntheticPairs(spec)
    return start, [pairs[i] for i in range(start, stop)]


class CachedPairs:
    """`PairDataset` over a rendered folder. Open with `open_cache`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self._name: str = index["name"]
        self._digest: str = index["digest"]
        self._rows: list[dict[str, Any]] = index["rows"]
        self.arrays: dict[str, NDArray[Any]] = {m: np.load(folder / f"{m}.npy", mmap_mode="r") for m in CHANNELS}

    @property
    def name(self) -> str:
        return self._name

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self) -> NDArray[np.int64]:
        """int64 [len]: 1 bona fide, 0 attack."""
        return np.array([row["label"] for row in self._rows], np.int64)

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        return Sample(crops={m: a[index] for m, a in self.arrays.items()}, **row)

    def digest(self) -> str:
        return self._digest


def open_cache(
    spec: SyntheticSpec, root: Path, *, workers: int = 2, tick: Callable[[int], None] = lambda n: None
) -> CachedPairs:
    """Open the rendered set of ``spec`` under ``root``, rendering it first where it is missing.

    ``tick`` is called with the number of samples finished since the last call. A folder appears whole or not
    at all: it is written beside and renamed.
    """
    folder = root / cache_key(spec)
    if not (folder / "index.json").exists():
        root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".rendering-", dir=root))
        try:
            _render(spec, beside, workers, tick)
            os.replace(beside, folder)
        except OSError:
            # Another process finished the same set first; its bytes are ours.
            if not (folder / "index.json").exists():
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return CachedPairs(folder)


def _render(spec: SyntheticSpec, folder: Path, workers: int, tick: Callable[[int], None]) -> None:
    total, size = len(SyntheticPairs(spec)), spec.rule.size
    arrays = {
        m: np.lib.format.open_memmap(folder / f"{m}.npy", mode="w+", dtype=dtype, shape=(total, size, size, channels))
        for m, (channels, dtype) in CHANNELS.items()
    }
    rows: list[dict[str, Any]] = [{} for _ in range(total)]
    tasks = [(spec, start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    # Spawned, not forked: the parent may already hold torch's and OpenCV's thread pools.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for start, samples in pool.imap_unordered(_render_chunk, tasks):
            for i, sample in enumerate(samples, start):
                for modality, array in arrays.items():
                    array[i] = sample.crops[modality]
                rows[i] = {
                    "label": sample.label,
                    "species": sample.species,
                    "subject": sample.subject,
                    "presentation": sample.presentation,
                    "sensor": sample.sensor,
                    "conditions": dict(sample.conditions),
                }
            tick(len(samples))
    h = hashlib.sha256()
    for modality in sorted(arrays):
        arrays[modality].flush()
        h.update(np.ascontiguousarray(arrays[modality]).data)
    index = {"name": spec.name, "digest": h.hexdigest(), "spec": spec.to_json(), "rows": rows}
    (folder / "index.json").write_text(json.dumps(index))
