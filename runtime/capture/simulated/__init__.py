"""Simulated cameras."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.capture.simulated.rig import SPECIES, SyntheticRig, open_synthetic
    from runtime.capture.simulated.scenario import Script
    from runtime.capture.simulated.source import SimulatedCamera

__all__ = [
    "SPECIES",
    "Script",
    "SimulatedCamera",
    "SyntheticRig",
    "open_synthetic",
]

__getattr__ = lazy_names(
    __name__,
    {
        "rig": ("SPECIES", "SyntheticRig", "open_synthetic"),
        "scenario": ("Script",),
        "source": ("SimulatedCamera",),
    },
)
