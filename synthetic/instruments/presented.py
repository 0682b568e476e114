"""Things before the cameras: held, worn or the living head."""

from __future__ import annotations

from dataclasses import dataclass

from synthetic.surface import Surface


@dataclass(slots=True)
class Presented:
    """A presentation's things: ``surface``, and others ``before`` it with the same position and rotation. ``scale``:
    size of the face relative to life. ``attacked``: those of ``before`` that are the attack, where the surface itself
    is a living face."""

    surface: Surface
    scale: float = 1.0
    before: tuple[Surface, ...] = ()
    attacked: tuple[Surface, ...] = ()
