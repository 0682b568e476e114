"""Readers for public data sets and for your own recordings, all with the interface `adsn.datasets.pairs.PairDataset`.

The public sets are not part of this project; each has its own licence terms.
"""

from adsn.datasets.base import DatasetError, DepthWindow, ListedPairs
from adsn.datasets.casia_surf import open_casia_surf
from adsn.datasets.cefa import open_cefa
from adsn.datasets.recordings import open_recordings
from adsn.datasets.registry import open_dataset
from adsn.datasets.wmca import open_wmca

__all__ = [
    "DatasetError",
    "DepthWindow",
    "ListedPairs",
    "open_casia_surf",
    "open_cefa",
    "open_dataset",
    "open_recordings",
    "open_wmca",
]
