"""Common interface of the two renderers: change chosen attributes of a presentation, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adsn.datasets.pairs import Patch, jittered
from adsn.datasets.shards import DETECTED
from runtime.core.values import Box
from synthetic import PATH_TRACED_SPECIES, SPECIES, Attributes, Presentation, Rendered, pathtraced, render_patch
from synthetic.people.makehuman import Library
from synthetic.raster.take import BOX_MM, PATCH_EXTENT, face_box, take
from synthetic.rendering import View
from synthetic.scene import compose

RendererName = Literal["fast", "pathtraced"]
FAST_SIZE, TRACED_SIZE = 168, 144
"""Edges in pixels of the rendered patches, as in the training sets."""
TRACED_SAMPLES = 12
"""Paths per pixel, half of the path tracer's default: a measurement needs thousands of images."""
WORN = frozenset({"glasses", "hat", "medical mask", "open mouth", "gaze"})


@dataclass(frozen=True, slots=True)
class Variant:
    """Changeable attributes of a presentation. ``elsewhere``: another room, other clothes, another hand."""

    attributes: Attributes
    elsewhere: bool = False


Render = Callable[[Presentation, Variant], Patch]
"""Function from a presentation and its attributes to images and boxes."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """A renderer. ``attributes``: attributes that it can change without changing anything else. ``species``: species
    that it can render."""

    render: Render
    attributes: frozenset[str]
    species: tuple[str, ...] = SPECIES


def _fast(presentation: Presentation, variant: Variant) -> Patch:
    presentation = replace(presentation, attributes=variant.attributes)
    if variant.elsewhere:
        return _moved(presentation)
    found = render_patch(presentation, size=FAST_SIZE)
    ir_box = Box(*found.ir_box)
    pictures: dict[str, NDArray[Any]] = {"rgb": found.rgb, "ir": found.ir, "depth": found.depth}
    return Patch(pictures, {"rgb": Box(*found.box), "ir": ir_box, "depth": ir_box})


def _moved(presentation: Presentation) -> Patch:
    """Render the same presentation in a different place, in the view that `synthetic.render_patch` uses."""
    size = FAST_SIZE
    life = size / (PATCH_EXTENT * BOX_MM[2])
    scene = compose(presentation, life, "analytic")
    scene.place_key = [*scene.place_key, 1]
    scale = life / scene.shown.scale
    view = View(size, size, scale, size / 2 - BOX_MM[0] * life, size / 2 - BOX_MM[1] * life)
    ratio = scale / (scene.camera.focal_px / scene.distance)
    whole = (size / 2 - scene.centre[0] * 640 * ratio, size / 2 - scene.centre[1] * 480 * ratio, 400 * ratio)
    taken = take(scene, view, whole, ratio)
    x, y, w, h = face_box(scene, view)
    ir_box = Box(x - taken.shift, y, w, h)
    pictures: dict[str, NDArray[Any]] = {"rgb": taken.rgb, "ir": taken.ir, "depth": taken.depth}
    return Patch(pictures, {"rgb": Box(x, y, w, h), "ir": ir_box, "depth": ir_box})


def traced(
    presentation: Presentation,
    variant: Variant,
    *,
    size: int = TRACED_SIZE,
    samples: int = TRACED_SAMPLES,
    library: Library | None = None,
) -> Rendered:
    """Path-trace a variant of a presentation. Arguments and errors as for `synthetic.pathtraced.render`."""
    what = pathtraced.describe(replace(presentation, attributes=variant.attributes))
    return pathtraced.render(what, size=size, samples=samples, library=library)


def detected(pictures: Mapping[str, NDArray[Any]], box: Sequence[float], ir_box: Sequence[float]) -> Patch:
    """Return path-traced images with the boxes that the default detector would find. ``box``, ``ir_box``: the
    renderer's boxes in RGB and IR."""
    rgb, ir = (jittered(found, np.zeros(2), DETECTED) for found in (box, ir_box))
    return Patch(pictures, {"rgb": rgb, "ir": ir, "depth": ir})


def _traced(presentation: Presentation, variant: Variant) -> Patch:
    found = traced(presentation, variant)
    return detected({"rgb": found.rgb, "ir": found.ir, "depth": found.depth}, found.box, found.ir_box)


RENDERERS: Mapping[RendererName, Renderer] = {
    "fast": Renderer(_fast, WORN | {"background"}),
    "pathtraced": Renderer(_traced, WORN, PATH_TRACED_SPECIES),
}
"""Renderers by name. Beard and hair depend on the person, and a path-traced room depends on the presentation, so they
cannot be changed in isolation."""
