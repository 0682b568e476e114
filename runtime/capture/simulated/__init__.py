"""Simulated cameras."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.capture.simulated.rig import SPECIES, SyntheticRig, open_synthetic
    from runtime.capture.simulated.scenario import FaultScript
    from runtime.capture.simulated.source import SimulatedCamera

__all__ = [
    "SPECIES",
    "FaultScript",
    "SimulatedCamera",
    "SyntheticRig",
    "open_synthetic",
]

__getattr__ = attach(
    __name__,
    {
        "FaultScript": "runtime.capture.simulated.scenario",
        "SPECIES": "runtime.capture.simulated.rig",
        "SimulatedCamera": "runtime.capture.simulated.source",
        "SyntheticRig": "runtime.capture.simulated.rig",
        "open_synthetic": "runtime.capture.simulated.rig",
    },
)
