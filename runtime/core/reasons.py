"""Every reason a decision can carry, once: the code that programs compare, and plain words for people.

A reason explains why an answer is not ``live``. Gates and what a stream lacks make it ``uncertain``, the four
``…_spoof`` codes go with ``spoof``. The codes are part of the contract: none changes its meaning, new ones may come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReasonKind = Literal["face", "rgb", "ir", "depth", "pair", "score", "spoof"]


@dataclass(frozen=True, slots=True)
class Reason:
    """``meaning``: what was found. ``subject``: what the person before the cameras can do about it, empty where that is
    nothing. ``operator``: what whoever looks after the rig does when it keeps happening."""

    code: str
    kind: ReasonKind
    meaning: str
    subject: str
    operator: str


_ALL = (
    Reason(
        "no_face", "face", "No face was found.", "Stand before the camera and look at it.",
        "Check that the cameras point at where people's heads are, and that there is light or infrared light on them.",
    ),
    Reason(
        "multiple_faces", "face", "More than one face is near enough to be meant.", "One person at a time, please.",
        "Narrow the view, or draw a waiting line further back. A picture on the wall behind counts: remove it.",
    ),
    Reason(
        "face_too_small", "face", "The face is too far away or the picture too coarse.", "Come closer.",
        "Raise the resolution, use a longer lens, or move the cameras nearer. The face must be 64 pixels wide.",
    ),
    Reason(
        "face_cropped", "face", "The face is cut off by the edge of the picture.", "Move into the middle.",
        "Point the cameras so that tall and short people fit, and no wider than both cameras see.",
    ),
    Reason(
        "head_pose", "face", "The head is turned too far away.", "Look straight at the camera.",
        "Put the cameras at eye level, beside whatever people look at.",
    ),
    Reason(
        "rgb_blurry", "rgb", "The colour picture of the face is blurred.", "Hold still.",
        "Clean and focus the lens; shorten the exposure and add light.",
    ),
    Reason(
        "rgb_too_dark", "rgb", "The colour picture of the face is too dark, and no infrared picture can stand in.",
        "Step into the light.", "Add light, or use a model with infrared, which needs none.",
    ),
    Reason(
        "rgb_too_bright", "rgb", "The colour picture of the face is overexposed.", "Step out of the glare.",
        "Shade the place from the sun; let exposure follow the middle of the picture.",
    ),
    Reason(
        "ir_unlit", "ir", "The infrared illuminator did not light the scene.", "",
        "The illuminator is off, covered, too far away or without power: see docs/rig.md.",
    ),
    Reason(
        "ir_saturated", "ir", "The infrared picture of the face is overexposed.", "Step back a little.",
        "Lower the illuminator's power or the exposure; look for something that reflects it into the lens.",
    ),
    Reason(
        "ir_flat", "ir", "The infrared picture shows nothing.", "Uncover the camera.",
        "A covered lens, a closed shutter or a dead sensor.",
    ),
    Reason(
        "ir_no_face", "ir", "There is a face in colour, but none in infrared where it should be.",
        "Look straight at the camera; nothing but your face may be shown to it.",
        "Screens and many prints have no face in infrared: most likely an attack. If people get it, calibrate the rig.",
    ),
    Reason(
        "ambient_flood", "ir", "There is more infrared light in the room than the illuminator gives.",
        "Step out of the sun.", "Shade the place from sunlight and halogen lamps; use a narrower filter.",
    ),
    Reason(
        "depth_invalid", "depth", "The depth camera measured too little of the face, or distances that cannot be.",
        "Come closer, and take reflecting things off the face.",
        "Check the depth camera's range and projector; glass before it and sunlight blind it.",
    ),
    Reason(
        "pair_skew", "pair", "The pictures were not taken at the same moment.", "Hold still.",
        "Run both cameras at one rate; see pairing in docs. On uploads: the two timestamps are too far apart.",
    ),
    Reason(
        "pair_stale", "pair", "There was no fresh pair to judge.", "",
        "A camera stands still or the machine is overloaded: see the cameras' states and the time for each pair.",
    ),
    Reason(
        "modality_missing", "pair", "One of the pictures the model needs is missing.", "",
        "A camera is not connected or not configured. The model says which pictures it takes.",
    ),
    Reason(
        "strobe_lost", "pair", "The infrared picture is not what the illuminator would give.", "",
        "The illuminator no longer alternates or its pattern is declared wrongly; else the camera shows a screen, or "
        "its pictures are fed in from elsewhere.",
    ),
    Reason(
        "score_in_band", "score", "The evidence is neither enough for a living person nor enough against one.",
        "Look straight at the camera and try once more.",
        "Seldom on good pictures. If it is often, look at light and focus first, then at the operating point.",
    ),
    Reason("rgb_spoof", "spoof", "The colour picture speaks against a living face.", "", "An attack, or a model that "
           "has not seen such faces, light or cameras; collect its score, not its picture."),
    Reason("ir_spoof", "spoof", "The infrared picture speaks against a living face.", "", "As rgb_spoof."),
    Reason("depth_spoof", "spoof", "The depth picture speaks against a living face.", "", "As rgb_spoof."),
    Reason("fused_spoof", "spoof", "Both pictures together speak against a living face.", "", "As rgb_spoof."),
)  # fmt: skip

REASONS = {reason.code: reason for reason in _ALL}
"""Code → reason, in the order in which they are documented."""

ILLUMINATION_CODES = ("strobe_lost", "ir_unlit", "ambient_flood")
"""What a rig can find wrong with its illuminator before any face is looked at."""

PRIORITY = {code: rank for rank, code in enumerate((
    "modality_missing", "pair_stale", "strobe_lost", "no_face", "multiple_faces", "face_too_small", "face_cropped",
    "ir_flat", "ir_unlit", "ir_saturated", "ambient_flood", "rgb_too_dark", "rgb_too_bright", "depth_invalid",
    "head_pose", "ir_no_face", "rgb_blurry", "pair_skew", "score_in_band",
))}  # fmt: skip
"""Which of several failures to tell a person first: what hides the others comes before them."""


def operator_advice(code: str) -> str:
    """Return what was found and what the operator does about it, in one line."""
    reason = REASONS[code]
    return f"{reason.meaning} {reason.operator}"
