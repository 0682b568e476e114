"""What is held, worn or simply there before the cameras."""

from __future__ import annotations

from dataclasses import dataclass

from synthetic.surface import Surface


@dataclass(slots=True)
class Presented:
    """A presentation's things: ``surface``, with others ``before`` it in the same place and turn. ``scale``: size of
    the face against life. ``attacked``: those of ``before`` that
    are the attack, where the surface itself is a living face."""

    surface: Surface
    scale: float = 1.0
    before: tuple[Surface, ...] = ()
    attacked: tuple[Surface, ...] = ()
