"""Path-traced variants on disk, one file for each: rendered once, then read for every model.

A file's path is a digest of the renderer's version, the assets and the presentation, so a change of the renderer needs
a new version. Several processes may fill one store. Files are written atomically, so rendering can be stopped at any
time.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import Patch
from adsn.datasets.shards import write_arrays
from adsn.evaluation.renderers import TRACED_SAMPLES, TRACED_SIZE, Variant, detected, traced
from synthetic import Presentation, pathtraced
from synthetic.people.makehuman import Library, open_library

FOLDER = "counterfactual"
"""Folder of the store in the folder for rendered sets."""
CHANNELS = {"rgb": 3, "ir": 1, "depth": 1}
DIGITS = 24


class VariantStore:
    """Path tracer of variants that keeps what it renders.

    ``root``: folder for rendered sets. ``size``: edge of the patches in pixels. ``samples``: paths per pixel.

    Raises:
        MakeHumanError, FaceModelError: the people's assets are not available.
    """

    def __init__(
        self, root: Path, library: Library | None = None, *, size: int = TRACED_SIZE, samples: int = TRACED_SAMPLES
    ) -> None:
        self._library = library or open_library()
        self._size, self._samples = size, samples
        self.folder = root / FOLDER / _digest([pathtraced.VERSION, self._library.digest(), size, samples])

    def path(self, presentation: Presentation, variant: Variant) -> Path:
        """Return the path of a variant's file, whether or not it exists."""
        return self.folder / f"{_digest(_content(presentation, variant))}.npz"

    def patch(self, presentation: Presentation, variant: Variant) -> Patch:
        """Return a variant's images and boxes. They are rendered if they are not in the store.

        Raises:
            MakeHumanError, RenderError: path tracing is not available.
            OSError: the file cannot be read or written.
        """
        arrays = self._read(presentation, variant)
        if arrays is None:
            arrays = self._render(presentation, variant)
        # Images that were just rendered pass through the same types as stored ones, so both give the same scores.
        pictures = {"rgb": arrays["rgb"], "ir": arrays["ir"], "depth": arrays["depth"].astype(np.float32)}
        return detected(pictures, arrays["box"].tolist(), arrays["ir_box"].tolist())

    def add(self, presentation: Presentation, variant: Variant) -> bool:
        """Render a variant if it is not in the store, and return whether it was rendered. Errors as for `patch`."""
        if self._read(presentation, variant) is not None:
            return False
        self._render(presentation, variant)
        return True

    def _render(self, presentation: Presentation, variant: Variant) -> dict[str, NDArray[Any]]:
        found = traced(presentation, variant, size=self._size, samples=self._samples, library=self._library)
        arrays: dict[str, NDArray[Any]] = {
            "rgb": found.rgb,
            "ir": found.ir,
            "depth": np.clip(found.depth, 0, 65535).astype(np.uint16),
            "box": np.array(found.box, np.float64),
            "ir_box": np.array(found.ir_box, np.float64),
        }
        content = np.frombuffer(_text(_content(presentation, variant)).encode(), np.uint8)
        path = self.path(presentation, variant)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, {"content": content, **arrays})
        return arrays

    def _read(self, presentation: Presentation, variant: Variant) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of a variant's file, or None if it is missing, damaged or another variant's."""
        try:
            data = self.path(presentation, variant).read_bytes()
        except FileNotFoundError:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in (*CHANNELS, "box", "ir_box")}
                content = file["content"].tobytes().decode()
        except Exception:  # Whatever the readers of ZIP and NumPy files raise, the variant is rendered again.
            return None
        shapes: dict[str, tuple[int, ...]] = {name: (self._size, self._size, n) for name, n in CHANNELS.items()}
        shapes |= {"box": (4,), "ir_box": (4,)}
        whole = all(arrays[name].shape == shape for name, shape in shapes.items())
        return arrays if whole and content == _text(_content(presentation, variant)) else None


def _content(presentation: Presentation, variant: Variant) -> list[dict[str, Any]]:
    # Attributes that are not worn are left out, so that a new kind of attribute leaves stored variants valid.
    return [asdict(value, dict_factory=_given) for value in (presentation, variant)]


def _given(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if value is not None}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()[:DIGITS]
