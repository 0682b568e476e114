"""Where the face is in every picture of a pair: found in one, placed in the others, and looked for again there.

Colour leads. Where it shows no face, as in the dark, infrared leads. In depth no face is looked for. That a face is in
colour and in infrared is a gate only: a screen is black in infrared, but a good print is not, so it says nothing for
anybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2

from runtime.core.check import Check
from runtime.core.errors import NoFace
from runtime.core.values import Box, Image, Modality, Pair
from runtime.face.detector import Face, FaceLocator
from runtime.face.fixed import FixedRegion
from runtime.geometry.box_mapping import Registrar

CONFIRM_REACH = 1.7
"""Edge of the region in which a face is looked for again, against its expected box."""
CONFIRM_OFF = 0.5
"""How far from where it is expected it may be, as a fraction of the expected edge: it is one face or another."""
CONFIRM_ZOOM = 2.0
SEARCHABLE_MEAN = 25
"""Mean grey level of a region below which that no face is found there says nothing."""
NO_FACE_CODES: Mapping[Modality, str] = {"rgb": "no_face", "ir": "ir_no_face"}


@dataclass(frozen=True, slots=True)
class Found:
    """``face`` in pixels of the picture of ``lead``, the first of the model's modalities that a face can be seen in.
    ``seen_in``: where it was found, None when the caller named its box. ``boxes``: modality → box in its picture.
    ``checks``: what finding it has settled already."""

    face: Face
    lead: Modality
    seen_in: Modality | None
    boxes: Mapping[Modality, Box]
    checks: tuple[Check, ...]


def leads(modalities: Sequence[Modality]) -> tuple[Modality, ...]:
    """Those in whose pictures a face can be found, in the order in which they are searched."""
    return tuple(m for m in ("rgb", "ir") if m in modalities)


def find_face(
    pair: Pair,
    modalities: Sequence[Modality],
    locator: FaceLocator,
    registrar: Registrar,
    given: Mapping[Modality, Box] | None = None,
) -> Found:
    """Find a still pair's face. ``given``: boxes that the caller names, which are used as they are.

    Raises:
        ModalityMissing: the pair lacks a picture.
        InvalidFaceBox: a given box is malformed or outside its image.
        NoFace: no box was given, and no face found.
    """
    boxes = {m: box for m, box in (given or {}).items() if m in modalities}
    for modality in modalities:
        shape = pair.image(modality).shape
        if modality in boxes:
            boxes[modality].require_inside(shape, f"{modality} face box")
    searched = leads(modalities)
    lead = searched[0]
    checks: list[Check] = []
    if lead in boxes:
        face, seen_in = Face(boxes[lead], None, 1), None
    else:
        face, seen_in = _search(pair, searched, locator, registrar, boxes)
        checks.append(count_check(face, locator))
    placed, more = place(pair, modalities, lead, face, seen_in, locator, registrar, boxes)
    return Found(face, lead, seen_in, placed, (*checks, *more))


def _search(
    pair: Pair, searched: Sequence[Modality], locator: FaceLocator, registrar: Registrar, given: Mapping[Modality, Box]
) -> tuple[Face, Modality | None]:
    """The face in the leading picture's pixels, and the modality it was found in."""
    lead, *others = searched
    found = locator.locate(pair.image(lead))
    if found is not None:
        return found, lead
    for other in others:
        named = given.get(other)
        in_other = Face(named, None, 1) if named is not None else locator.locate(pair.image(other))
        if in_other is not None:
            back = registrar.place(in_other.box, other, lead, pair)
            if back is not None:
                return in_other.onto(back.box), None if named is not None else other
    names = " nor in the ".join({"rgb": "RGB image", "ir": "infrared one"}[m] for m in searched)
    raise NoFace(
        f"no face was found in the {names}. Send a frontal, upright face of at least 64 pixels, or name its box."
    )


def place(
    pair: Pair,
    modalities: Sequence[Modality],
    lead: Modality,
    face: Face,
    seen_in: Modality | None,
    locator: FaceLocator,
    registrar: Registrar,
    given: Mapping[Modality, Box],
) -> tuple[dict[Modality, Box], list[Check]]:
    """The face's box in every picture, and whether it is to be seen there."""
    boxes: dict[Modality, Box] = {}
    checks: list[Check] = []
    for modality in modalities:
        if modality in given:
            boxes[modality] = given[modality]
            continue
        if modality == lead:
            boxes[lead] = face.box
            if seen_in not in (lead, None):
                checks.append(confirm(pair, lead, face.box, locator))
            continue
        there = registrar.place(face.box, lead, modality, pair)
        if there is not None:
            boxes[modality] = there.box
            if modality in NO_FACE_CODES and seen_in == lead:
                checks.append(confirm(pair, modality, there.box, locator))
            continue
        boxes[modality], check = _unregistered(pair, lead, modality, face.box, locator)
        checks.append(check)
    return boxes, checks


def _unregistered(pair: Pair, lead: Modality, modality: Modality, box: Box, locator: FaceLocator) -> tuple[Box, Check]:
    """Nobody can say where the face is in this picture: look for it, and where that cannot be, the gate has failed."""
    shape = pair.image(modality).shape
    found = locator.locate(pair.image(modality)) if modality in NO_FACE_CODES else None
    code = NO_FACE_CODES.get(modality, "depth_invalid")
    check = Check(f"{modality}.face_count", found.count if found else 0, 1, 1, code)
    if found is not None:
        return found.box, check
    # The gate has failed already; a box is still needed to say what was seen. Its middle goes where the picture's
    # proportions say, its edges by one scale: with one for each axis a square would become as long as the picture.
    leading = pair.image(lead).shape
    sx, sy = shape[1] / leading[1], shape[0] / leading[0]
    middle, scale = box.scaled(sx, sy), min(sx, sy)
    w, h = box.w * scale, box.h * scale
    return Box(middle.x + middle.w / 2 - w / 2, middle.y + middle.h / 2 - h / 2, w, h), check


def count_check(face: Face, locator: FaceLocator) -> Check:
    """How many faces there are; ``unknown`` to a locator that looks at nothing."""
    count = None if isinstance(locator, FixedRegion) else face.count
    return Check("face.count", count, 1, 1, "multiple_faces")


def confirm(pair: Pair, modality: Modality, expected: Box, locator: FaceLocator) -> Check:
    """Whether a face is where it is expected. ``unknown`` where the picture is too dark to tell."""
    image = pair.image(modality)
    name, code = f"{modality}.face", NO_FACE_CODES[modality]
    region = region_of(image, expected, CONFIRM_REACH)
    if region is None:
        return Check(name, 0, 1, None, code)
    view, dx, dy = region
    if isinstance(locator, FixedRegion):
        return Check(name, None, 1, None, code)
    if modality == "rgb" and sum(cv2.mean(view)[:3]) / 3 < SEARCHABLE_MEAN:
        return Check(name, None, 1, None, code)
    found = locator.locate(view, expected.w * 0.6)
    found = found.moved(dx, dy) if found is not None else locator.locate(image, expected.w * 0.5)
    return Check(name, float(found is not None and agrees(found.box, expected)), 1, None, code)


def agrees(found: Box, expected: Box) -> bool:
    """Whether two boxes can be those of one face."""
    edge = max(expected.w, expected.h, 1e-6)
    dx, dy = found.x + found.w / 2 - expected.x - expected.w / 2, found.y + found.h / 2 - expected.y - expected.h / 2
    far = math.hypot(dx, dy)
    ratio = max(found.w, expected.w) / max(min(found.w, expected.w), 1e-6)
    return far <= CONFIRM_OFF * edge and ratio <= CONFIRM_ZOOM


def region_of(image: Image, box: Box, reach: float) -> tuple[Image, int, int] | None:
    """The square of ``reach`` times the box's edge around it, cut at the image's edges, and its left and top; None
    where nothing is left."""
    side = max(box.w, box.h) * reach
    cx, cy = box.x + box.w / 2, box.y + box.h / 2
    if not all(map(math.isfinite, (cx, cy, side))):
        return None
    height, width = image.shape[:2]
    x0, y0 = max(round(cx - side / 2), 0), max(round(cy - side / 2), 0)
    x1, y1 = min(round(cx + side / 2), width), min(round(cy + side / 2), height)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    return image[y0:y1, x0:x1], x0, y0
