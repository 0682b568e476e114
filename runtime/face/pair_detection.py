"""Find the face in each image of a pair: detect it in one image, map its box to the others, and confirm it there.

RGB is searched first or, in the dark, IR. If no face is found there, the other image is searched. Depth images are not
searched. A face found in RGB must be confirmed in IR. If the detector finds a face close enough to the mapped box, the
IR crop is taken from that detection; otherwise the gate ``ir.face`` fails. A face found in IR must be confirmed in RGB
in the same way (``rgb.face``), unless RGB is too dark. A face in both RGB and IR is required but does not prove life: a
screen is black in IR, but a good print is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from runtime.core.check import Check
from runtime.core.errors import NoFace
from runtime.core.parallel import ParallelRunner, run_sequentially
from runtime.core.values import Box, Image, Modality, Pair
from runtime.face.detector import Face, FaceDetector
from runtime.face.fixed import FixedRegion
from runtime.geometry.box_mapping import BoxMapper, MappedBox

REACHES = (1.7, 2.4)
"""Edges of the regions searched to confirm a face, in this order, as multiples of the edge of its expected box.
`is_same_face` would not accept a face outside the second region."""
DETECTOR_OFF = 0.25
"""Largest distance between a detected face and its place according to a calibration, as a fraction of the expected
edge; the calibration's own tolerance is added. The scatter of the detector is smaller: for nine in ten frontal heads a
box is off by less than 0.05, for turned heads by less than 0.1 (benchmarks/faces.md)."""
CONFIRM_MAX_OFFSET = 0.5
"""Upper bound of that distance. Without a calibration this bound alone applies; it is only tight enough to tell one
face from another."""
CONFIRM_MAX_SCALE = 2.0
SEARCHABLE_MEAN = 25
"""Mean grey level (0 to 255) below which a region is too dark for a missing detection to mean anything."""
NO_FACE_CODES: Mapping[Modality, str] = {"rgb": "no_face", "ir": "ir_no_face"}


@dataclass(frozen=True, slots=True)
class PairDetection:
    """The face of a pair.

    ``face``: the face in pixels of the ``lead`` image. ``lead``: the first of the model's modalities that can be
    searched for faces (RGB, otherwise IR). ``detected_in``: modality of the image in which the face was detected, None
    if the caller gave its box. ``boxes``: modality → box in its image. ``checks``: results of the checks that detection
    has already decided.
    """

    face: Face
    lead: Modality
    detected_in: Modality | None
    boxes: Mapping[Modality, Box]
    checks: tuple[Check, ...]


def searchable_modalities(modalities: Sequence[Modality]) -> tuple[Modality, ...]:
    """Return those of ``modalities`` that can be searched for faces, RGB before IR."""
    return tuple(m for m in ("rgb", "ir") if m in modalities)


def find_face(
    pair: Pair,
    modalities: Sequence[Modality],
    detector: FaceDetector,
    box_mapper: BoxMapper,
    given: Mapping[Modality, Box] | None = None,
    run_both: ParallelRunner = run_sequentially,
) -> PairDetection:
    """Find the face in a single pair, without tracking.

    ``given``: boxes from the caller, used unchanged. ``run_both``: runs two searches, in parallel if it can. It is used
    if both images must be searched as a whole because the box mapper cannot map a box between them.

    Raises:
        ModalityMissing: the pair lacks an image. InvalidFaceBox: a given box is malformed or outside its image. NoFace:
            no box was given for the lead image, and no face was found.
    """
    boxes = {m: box for m, box in (given or {}).items() if m in modalities}
    for modality in modalities:
        shape = pair.image(modality).shape
        if modality in boxes:
            boxes[modality].require_inside(shape, f"{modality} face box")
    lead = searchable_modalities(modalities)[0]
    checks: list[Check] = []
    if lead in boxes:
        sighting = _LeadDetection(Face(boxes[lead], None, 1), None, {})
    else:
        sighting = _search(pair, searchable_modalities(modalities), detector, box_mapper, boxes, run_both)
        checks.append(face_count_check(sighting.face, detector))
    placed, more = _place(pair, modalities, sighting, detector, box_mapper, boxes)
    return PairDetection(sighting.face, lead, sighting.detected_in, placed, (*checks, *more))


@dataclass(frozen=True, slots=True)
class _LeadDetection:
    """A detection for the lead image. ``face``: in pixels of the lead image. ``detected_in``: modality in which it was
    detected. ``whole``: modality → detection in that whole image, in its pixels."""

    face: Face
    detected_in: Modality | None
    whole: Mapping[Modality, Face | None]


def _search(
    pair: Pair,
    searched: Sequence[Modality],
    detector: FaceDetector,
    box_mapper: BoxMapper,
    given: Mapping[Modality, Box],
    run_both: ParallelRunner,
) -> _LeadDetection:
    lead = searched[0]
    whole = _search_apart(pair, searched, detector, box_mapper, run_both) if not given else {}
    # In the dark a detection in RGB is possible, but less precise than one in IR.
    for modality in reversed(searched) if is_dark(pair.image(lead)) and lead == "rgb" else searched:
        if modality in given:
            face, detected_in = Face(given[modality], None, 1), None
        else:
            if modality not in whole:
                whole[modality] = detector.detect(pair.image(modality))
            detected = whole[modality]
            if detected is None:
                continue
            face, detected_in = detected, modality
        if modality == lead:
            return _LeadDetection(face, detected_in, whole)
        back = box_mapper.map_box(face.box, modality, lead, pair)
        if back is not None:
            return _LeadDetection(face.onto(back.box), detected_in, whole)
    raise NoFace(
        f"{no_face_message(pair, searched)} Send a frontal, upright face of at least 64 pixels, or name its box."
    )


def no_face_message(pair: Pair, searched: Sequence[Modality]) -> str:
    """Return the sentence that names the images without a face, and which of them is too dark to show one.

    IR is never called too dark, because an IR image of an empty scene is dark too.
    """
    names = []
    for modality in searched:
        name = "infrared image" if modality == "ir" else "RGB image"
        names.append(f"{name} (too dark)" if modality == "rgb" and is_dark(pair.image("rgb")) else name)
    return f"no face was found in the {' or the '.join(names)}."


def _search_apart(
    pair: Pair, searched: Sequence[Modality], detector: FaceDetector, box_mapper: BoxMapper, run_both: ParallelRunner
) -> dict[Modality, Face | None]:
    """Search two whole images in parallel and return the detections.

    If the box mapper can map between the images, nothing is searched and the result is empty.
    """
    if len(searched) != 2:
        return {}
    first, second = searched
    height, width = pair.image(first).shape[:2]
    middle = Box(width * 0.375, height * 0.375, width * 0.25, height * 0.25)
    if box_mapper.map_box(middle, first, second, pair) is not None:
        return {}
    one, other = run_both(partial(detector.detect, pair.image(second)), partial(detector.detect, pair.image(first)))
    return {second: one, first: other}


def _place(
    pair: Pair,
    modalities: Sequence[Modality],
    sighting: _LeadDetection,
    detector: FaceDetector,
    box_mapper: BoxMapper,
    given: Mapping[Modality, Box],
) -> tuple[dict[Modality, Box], list[Check]]:
    """Return the box of the face in each image, and the checks that confirm the face there."""
    lead, face, detected_in = searchable_modalities(modalities)[0], sighting.face, sighting.detected_in
    boxes: dict[Modality, Box] = {}
    checks: list[Check] = []
    for modality in modalities:
        if modality in given:
            boxes[modality] = given[modality]
            continue
        if modality == lead:
            boxes[lead] = face.box
            if detected_in not in (lead, None):
                checks.append(detect_again(pair, lead, MappedBox(face.box, "same", None), detector)[0])
            continue
        own = sighting.whole.get(modality)
        if modality == detected_in and own is not None:
            boxes[modality] = own.box
            continue
        there = box_mapper.map_box(face.box, lead, modality, pair)
        if there is None:
            boxes[modality], check = _detect_unregistered(pair, lead, modality, face.box, sighting.whole, detector)
            checks.append(check)
            continue
        boxes[modality] = there.box
        if modality in NO_FACE_CODES and detected_in == lead:
            check, again = detect_again(pair, modality, there, detector)
            checks.append(check)
            if again is not None:
                boxes[modality] = again.box
    return boxes, checks


def _detect_unregistered(
    pair: Pair,
    lead: Modality,
    modality: Modality,
    box: Box,
    whole: Mapping[Modality, Face | None],
    detector: FaceDetector,
) -> tuple[Box, Check]:
    """Return the box of the face in an image to which no box can be mapped, and the check of this detection.

    The check fails if the image shows no face or several, or cannot be searched (depth).
    """
    shape = pair.image(modality).shape
    detected = whole.get(modality)
    if modality not in whole and modality in NO_FACE_CODES:
        detected = detector.detect(pair.image(modality))
    code = NO_FACE_CODES.get(modality, "depth_invalid")
    check = Check(f"{modality}.face_count", detected.count if detected else 0, 1, 1, code)
    if detected is not None:
        return detected.box, check
    # The check has already failed, but the result still needs a box. The centre is scaled separately in x and y. Both
    # edges are scaled by the same factor; otherwise a square would take on the aspect ratio of the image.
    leading = pair.image(lead).shape
    sx, sy = shape[1] / leading[1], shape[0] / leading[0]
    middle, scale = box.scaled(sx, sy), min(sx, sy)
    w, h = box.w * scale, box.h * scale
    return Box(middle.x + middle.w / 2 - w / 2, middle.y + middle.h / 2 - h / 2, w, h), check


def face_count_check(face: Face, detector: FaceDetector) -> Check:
    """Check the number of faces. The check is ``unknown`` for a detector that does not look at the image."""
    count = None if isinstance(detector, FixedRegion) else face.count
    return Check("face.count", count, 1, 1, "multiple_faces")


def detect_again(
    pair: Pair, modality: Modality, expected: MappedBox, detector: FaceDetector
) -> tuple[Check, Face | None]:
    """Search for a face near its expected place. Return the check, and the face in pixels of the image or None.

    The larger region is searched only if the smaller one shows no face or cuts it off. The check is ``unknown`` for an
    RGB region that is too dark, and for a detector that does not look at the image.
    """
    image, box = pair.image(modality), expected.box
    name, code = f"{modality}.face", NO_FACE_CODES[modality]
    region = square_around(image, box, REACHES[0])
    if region is None:
        return Check(name, 0, 1, None, code), None
    if isinstance(detector, FixedRegion) or (modality == "rgb" and mean_level(region[0]) < SEARCHABLE_MEAN):
        return Check(name, None, 1, None, code), None
    for reach in REACHES:
        region = square_around(image, box, reach)
        detected = None if region is None else detector.detect(region[0], box.w * 0.6)
        if region is None or detected is None:
            continue
        whole = not _touches_edge(detected.box, region[0])
        detected = detected.moved(region[1], region[2])
        # The box of a face that the region cuts off is not reliable.
        if whole or reach == REACHES[-1]:
            seen = is_same_face(detected.box, expected)
            return Check(name, float(seen), 1, None, code), detected if seen else None
    return Check(name, 0, 1, None, code), None


def is_same_face(detected: Box, expected: MappedBox) -> bool:
    """Return whether a face detected at ``detected`` can be the expected one.

    Its centre may be off by `DETECTOR_OFF` times the expected edge plus the tolerance of ``expected``, but by no more
    than `CONFIRM_MAX_OFFSET` times the edge. If no tolerance is known, `CONFIRM_MAX_OFFSET` alone is the limit. The
    widths may differ by a factor of `CONFIRM_MAX_SCALE`.
    """
    box = expected.box
    edge = max(box.w, box.h, 1e-6)
    dx, dy = detected.x + detected.w / 2 - box.x - box.w / 2, detected.y + detected.h / 2 - box.y - box.h / 2
    ratio = max(detected.w, box.w) / max(min(detected.w, box.w), 1e-6)
    allowed = CONFIRM_MAX_OFFSET * edge
    if expected.tolerance_px is not None:
        allowed = min(allowed, DETECTOR_OFF * edge + expected.tolerance_px)
    return math.hypot(dx, dy) <= allowed and ratio <= CONFIRM_MAX_SCALE


def _touches_edge(box: Box, region: Image) -> bool:
    height, width = region.shape[:2]
    return box.x < 1 or box.y < 1 or box.x + box.w > width - 1 or box.y + box.h > height - 1


def is_dark(image: Image) -> bool:
    """Return whether an image is too dark for a missing detection to mean anything."""
    return mean_level(np.ascontiguousarray(image[::8, ::8])) < SEARCHABLE_MEAN


def mean_level(image: Image) -> float:
    """Return the mean of all pixels and channels of uint8 [H, W, C]."""
    return float(sum(cv2.mean(image)[: image.shape[2]]) / image.shape[2])


def square_around(image: Image, box: Box, reach: float) -> tuple[Image, int, int] | None:
    """Cut out a square around the centre of ``box``. Return it and the x and y of its top-left corner.

    The side of the square is ``reach`` times the longer edge of the box; the square is clipped to the image. Returns
    None if fewer than 8 pixels remain in either direction.
    """
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
