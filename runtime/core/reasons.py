"""All reasons that can accompany a decision: a code for programs and a text for people.

A reason explains why a decision is not ``live``. The four ``…_spoof`` codes accompany ``spoof``, all others
``uncertain``. The codes are part of the API contract: new ones may be added, but existing ones keep their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReasonKind = Literal["face", "rgb", "ir", "depth", "pair", "score", "spoof"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    ``meaning``: the problem that was found. ``subject``: hint for the person in front of the camera; empty if that
    person cannot help. ``operator``: advice for the operator if the problem recurs.
    """

    code: str
    kind: ReasonKind
    meaning: str
    subject: str
    operator: str


_ALL = (
    Reason(
        "no_face", "face", "No face was found.", "Stand in front of the camera and look at it.",
        "Check that the cameras point at head height and that faces are lit, by visible or infrared light.",
    ),
    Reason(
        "multiple_faces", "face", "More than one face is close to the camera.", "One person at a time, please.",
        "Narrow the field of view, or mark a waiting line further back. Remove pictures of faces from the background.",
    ),
    Reason(
        "face_too_small", "face", "The face is too far away or the resolution is too low.", "Come closer.",
        "Raise the resolution, use a longer lens, or move the cameras closer. The face must be 64 pixels wide.",
    ),
    Reason(
        "face_cropped", "face", "The edge of the image cuts off the face.", "Move into the middle.",
        "Aim the cameras so that tall and short people fit, within the area that both cameras see.",
    ),
    Reason(
        "head_pose", "face", "The head is turned too far away.", "Look straight at the camera.",
        "Mount the cameras at eye level, next to the screen or sign that people look at.",
    ),
    Reason(
        "rgb_blurry", "rgb", "The colour image of the face is blurred.", "Hold still.",
        "Clean and focus the lens; shorten the exposure and add light.",
    ),
    Reason(
        "rgb_too_dark", "rgb", "The colour image of the face is too dark, and no infrared image can replace it.",
        "Step into the light.", "Add light, or use a model with an infrared input, which works in the dark.",
    ),
    Reason(
        "rgb_too_bright", "rgb", "The colour image of the face is overexposed.", "Step out of the glare.",
        "Shade the place from the sun; use centre-weighted exposure.",
    ),
    Reason(
        "ir_unlit", "ir", "The infrared illuminator did not light the scene.", "",
        "The illuminator is off, covered, too far away or has no power: see docs/rig.md.",
    ),
    Reason(
        "ir_saturated", "ir", "The infrared image of the face is overexposed.", "Step back a little.",
        "Lower the illuminator's power or the exposure; remove objects that reflect it into the lens.",
    ),
    Reason(
        "ir_flat", "ir", "The infrared image is blank.", "Uncover the camera.",
        "Look for a covered lens, a closed privacy shutter or a dead sensor.",
    ),
    Reason(
        "ir_no_face", "ir", "The colour image shows a face, but the infrared image shows none in that place.",
        "Look straight at the camera; show it nothing but your face.",
        "Probably an attack: screens and many prints show no face in infrared. If people get it, calibrate the rig.",
    ),
    Reason(
        "ambient_flood", "ir", "There is more infrared light in the room than the illuminator emits.",
        "Step out of the sun.", "Shade the place from sunlight and halogen lamps; use a narrower filter.",
    ),
    Reason(
        "depth_invalid", "depth", "The depth camera measured too little of the face, or impossible distances.",
        "Come closer, and take anything reflective off your face.",
        "Check the depth camera's range and projector; sunlight or glass in front of it blinds it.",
    ),
    Reason(
        "pair_skew", "pair", "The images were not captured at the same moment.", "Hold still.",
        "Run both cameras at the same frame rate; see docs/pairing.md. For uploads: the timestamps are too far apart.",
    ),
    Reason(
        "pair_stale", "pair", "There was no recent pair of frames.", "",
        "A camera has stalled or the machine is overloaded: check the camera states and the time per pair.",
    ),
    Reason(
        "modality_missing", "pair", "An image that the model needs is missing.", "",
        "A camera is not connected or not configured. The model's manifest lists the modalities that it needs.",
    ),
    Reason(
        "strobe_lost", "pair", "The infrared frames do not follow the illuminator's strobe.", "",
        "The illuminator has stopped strobing or its configured pattern is wrong. Otherwise the camera is looking at a "
        "screen, or its frames are injected from elsewhere.",
    ),
    Reason(
        "score_in_band", "score", "The score is too low for live and too high for spoof.",
        "Look straight at the camera and try again.",
        "Rare with good images. If it is frequent, check light and focus first, then the operating point.",
    ),
    Reason("rgb_spoof", "spoof", "The colour image looks like an attack.", "", "An attack, or a model that was not "
           "trained on such faces, light or cameras; collect the score, not the image."),
    Reason("ir_spoof", "spoof", "The infrared image looks like an attack.", "", "As rgb_spoof."),
    Reason("depth_spoof", "spoof", "The depth image looks like an attack.", "", "As rgb_spoof."),
    Reason("fused_spoof", "spoof", "Both images together look like an attack.", "", "As rgb_spoof."),
)  # fmt: skip

REASONS = {reason.code: reason for reason in _ALL}
"""Code → reason, in the order of the documentation."""

ILLUMINATION_CODES = ("strobe_lost", "ir_unlit", "ambient_flood")
"""Codes of illuminator faults, which a rig can detect without a face."""

PRIORITY = {code: rank for rank, code in enumerate((
    "modality_missing", "pair_stale", "strobe_lost", "no_face", "multiple_faces", "face_too_small", "face_cropped",
    "ir_flat", "ir_unlit", "ir_saturated", "ambient_flood", "rgb_too_dark", "rgb_too_bright", "depth_invalid",
    "head_pose", "ir_no_face", "rgb_blurry", "pair_skew", "score_in_band",
))}  # fmt: skip
"""Code → rank. The failure with the lowest rank is shown first: a failure that hides others comes before them."""


def operator_advice(code: str) -> str:
    """Return the meaning of a code and the advice for the operator, in one line."""
    reason = REASONS[code]
    return f"{reason.meaning} {reason.operator}"
