"""Open any data set by name, for plans and commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from adsn.datasets.base import DatasetError, ListedPairs, Split
from adsn.datasets.casia_surf import open_casia_surf
from adsn.datasets.cefa import open_cefa
from adsn.datasets.recordings import open_recordings
from adsn.datasets.wmca import open_wmca
from runtime.imaging.crop import CropRule

Name = Literal["casia-surf", "cefa", "wmca", "recordings"]
READERS: dict[str, Any] = {
    "casia-surf": (open_casia_surf, {"form"}, {"form"}),
    "cefa": (open_cefa, {"protocol"}, {"protocol", "frames"}),
    "wmca": (open_wmca, {"protocol"}, {"protocol", "form", "frames"}),
    "recordings": (open_recordings, set(), set()),
}
"""Name → reader, its required options, and all of its options."""


def open_dataset(
    name: str,
    root: Path,
    *,
    split: Split,
    modalities: Sequence[str],
    rule: CropRule | None = None,
    max_skipped: float = 0.05,
    **options: str | int | None,
) -> ListedPairs:
    """Open a split of the data set ``name``. ``options``: ``protocol``, ``form`` and ``frames``, if the reader supports
    them. None means not given.

    Raises:
        DatasetError: the name is unknown, an option is missing or not supported by the reader, or the reader finds an
            error in the data.
    """
    if name not in READERS:
        raise DatasetError(f"no reader for {name!r}; the choices are {', '.join(READERS)}.")
    reader, needed, taken = READERS[name]
    given = {key: value for key, value in options.items() if value is not None}
    if needed - set(given) or set(given) - taken:
        raise DatasetError(
            f"{name}: needs {sorted(needed) or 'no options'} and takes {sorted(taken) or 'none'}; got {sorted(given)}."
        )
    opened: ListedPairs = reader(root, split=split, modalities=modalities, rule=rule, max_skipped=max_skipped, **given)
    return opened
