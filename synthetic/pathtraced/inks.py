"""Inks of the fast renderer with what the path tracer adds: how rough the print is."""

from __future__ import annotations

from collections.abc import Callable

from synthetic.instruments.prints import dye_ink, pigment_ink, toner

Ink = Callable[..., None]
ROUGHNESS: dict[Ink, tuple[float, float]] = {dye_ink: (0.85, 1.0), toner: (0.35, 0.7), pigment_ink: (0.1, 0.35)}
"""Ink → least and greatest roughness of its prints."""
