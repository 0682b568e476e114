"""PAI species as things: prints, screens, masks, partial disguises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.instruments.prints import INKS, dye_ink, pigment_ink, toner
from synthetic.pathtraced import skin as paint
from synthetic.pathtraced.clear_mask import mask_transparent
from synthetic.pathtraced.description import Description
from synthetic.pathtraced.eyes import ball_part
from synthetic.pathtraced.eyewear import glasses_things
from synthetic.pathtraced.making import (
    INK_ROUGHNESS,
    Ink,
    Making,
    eye_holes,
    glasses_before,
    held,
    in_front,
    map_of,
    soft,
)
from synthetic.pathtraced.medical_mask import medical_mask_things
from synthetic.pathtraced.people import dressed, eye_matter
from synthetic.pathtraced.portrait import (
    blank_surface,
    face_in_picture,
    lying_on,
    sheet_part,
)
from synthetic.pathtraced.presented import Shown, face_of
from synthetic.pathtraced.relief_mask import mask_relief
from synthetic.pathtraced.things import Matter, Thing, plate, present
from synthetic.people.attributes import Attributes
from synthetic.people.head import Glasses
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import person_of
from synthetic.physics import mask_nir, screen_nir
from synthetic.surface import noise

SHEET_PX = (256, 320)
PARTS = ("eyes", "mouth", "half", "glasses")
NOSE_OR_FOREHEAD = 1 / 3
"""Share of partial attacks with a printed nose or forehead."""


def instrument(library: Library, what: Description) -> Shown:
    """Return the attack that a description names."""
    shown = what.presentation
    subject = person_of(library, shown.subject, reserved=what.reserved)
    return MAKERS[shown.species](Making(library, what, subject, np.random.default_rng([0x76, *shown.key])))


def _printed(make: Making, ink: Ink, half: tuple[float, float], scale: float) -> Shown:
    """Return a held sheet with the subject's picture."""
    rng = make.rng
    shown, figure = make.picture()
    middle = float(rng.uniform(-35, -5)) * scale
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=bool(rng.uniform() < 0.45))
    surface = blank_surface(lying)
    ink(surface, lying, rng)
    low, high = INK_ROUGHNESS[ink]
    curl = float(rng.uniform(0, 0.0012)) * float(rng.uniform() < 0.6)
    axis = float(rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.15))
    waves = np.float32(rng.uniform(0, 0.06)) * noise(rng, (24, 24), 5).ravel() if ink is pigment_ink else None
    part = sheet_part(half, middle, curl, axis, waves)
    things = [Thing(part, Matter(surface.albedo, roughness=float(rng.uniform(low, high))), "instrument")]
    return held(make, things, figure, scale)


def _paper_size(rng: np.random.Generator) -> tuple[float, float]:
    big = rng.uniform() < 0.4
    large = (float(rng.uniform(130, 200)), float(rng.uniform(160, 220)))
    return large if big else (105.0, 148.5)


def print_matte(make: Making) -> Shown:
    """An inkjet print with dye inks on matte paper."""
    return _printed(make, dye_ink, _paper_size(make.rng), float(make.rng.uniform(0.75, 1.1)))


def print_toner(make: Making) -> Shown:
    """A laser print; its toner is visible in IR."""
    return _printed(make, toner, _paper_size(make.rng), float(make.rng.uniform(0.75, 1.1)))


def print_vinyl(make: Making) -> Shown:
    """A life-size banner of glossy vinyl."""
    half = (float(make.rng.uniform(130, 220)), float(make.rng.uniform(160, 220)))
    return _printed(make, pigment_ink, half, float(make.rng.uniform(0.92, 1.1)))


def replay_screen(make: Making) -> Shown:
    """A phone, tablet or monitor that plays the subject: it emits visible light and is dark in the infrared."""
    rng = make.rng
    phone = rng.uniform() < 0.4
    scale = float(rng.uniform(0.42, 0.6) if phone else rng.uniform(0.8, 1.15))
    half = (36.0, 76.0) if phone else (float(rng.uniform(85, 170)), float(rng.uniform(115, 170)))
    # No glasses are put on a screen: they are in the picture.
    worn = replace(make.what.attributes, glasses_on_picture=False)
    making = replace(make, what=replace(make.what, attributes=worn))
    shown, figure = making.picture()
    middle = float(rng.uniform(-30, 0)) * scale
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=False)[:, :, :3]
    x = np.linspace(-half[0], half[0], SHEET_PX[0], dtype=np.float32)[None]
    y = np.linspace(-half[1], half[1], SHEET_PX[1], dtype=np.float32)[:, None]
    # Moiré between panel and camera pixels: slow waves of brightness and tint.
    angle, wave, depth = rng.uniform(0, np.pi), rng.uniform(4, 25), float(rng.uniform(0, 0.06))
    phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / wave)
    beat = 1 + depth * np.sin(phase[:, :, None] + np.array([0, 0.7, 1.4]))
    # A white of 1 is paper under 300 lux, about 95 cd/m²; screens dim themselves in the dark.
    nits = np.exp(rng.uniform(np.log(120), np.log(700)) if make.what.lux > 40 else rng.uniform(np.log(15), np.log(120)))
    tint = rng.uniform(0.85, 1.1, 3) * float(nits) / 95
    emission = np.power(lying, float(rng.uniform(0.85, 1.25))) * beat * tint
    glass = Matter(
        (0.03, 0.03, 0.035, screen_nir(rng)),
        roughness=float(rng.uniform(0.05, 0.2)),
        emission=emission.astype(np.float32),
    )
    body = (0.6, 0.6, 0.6, 0.55) if rng.uniform() < 0.3 else (0.03, 0.03, 0.03, float(rng.uniform(0.04, 0.3)))
    bezel = float(rng.uniform(2, 9))
    move = np.eye(3, dtype=np.float32)
    rim = plate((half[0] + bezel, half[1] + bezel * float(rng.uniform(1, 2))))
    things = [
        Thing(sheet_part(half, middle, 0.0, 0.0), glass, "instrument"),
        Thing(rim.moved(move, np.array([0, middle, -1.5])), Matter(body, roughness=0.3), "instrument"),
    ]
    return held(making, things, figure, scale, glasses=False)


def _before_face(make: Making, curl: float, *, holes: int, wide: float) -> Shown:
    """Return a print cut along the face, in front of the wearer's face; ``holes``: 1 cuts out the eyes, 2 also the
    nose, 3 also the mouth."""
    rng, worn = make.rng, make.what.attributes
    shown, pictured = make.picture()
    figure, things = dressed(
        make.library, make.wearer(), replace(worn, hat=None, medical_mask=None), glasses=worn.glasses_on_picture
    )
    half, scale = (88.0, 122.0), float(rng.uniform(0.95, 1.06))
    middle = -22.0
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=False)
    surface = blank_surface(lying)
    ink = INKS[int(rng.integers(len(INKS)))]
    ink(surface, lying, rng)
    x = np.linspace(-half[0], half[0], SHEET_PX[0], dtype=np.float32)[None]
    y = np.linspace(half[1], -half[1], SHEET_PX[1], dtype=np.float32)[:, None] + middle
    top, bottom = float(rng.uniform(58, 85)), float(rng.uniform(108, 128))
    egg = np.square(x / wide) + np.square((y + 20) / np.where(y > -20, top + 20, bottom - 20))
    cover = np.clip((1 - egg) * 25, 0, 1)
    openings = [((-31.0, 0.0), (17.0, 9.0)), ((31.0, 0.0), (17.0, 9.0))][: 2 * (holes >= 1)]
    openings += [((0.0, -36.0), (16.0, 21.0))][: holes >= 2] + [((0.0, -69.0), (30.0, 12.0))][: holes >= 3]
    for (cx, cy), (rx, ry) in openings:
        cover = cover * (1 - np.clip((1.1 - np.square((x - cx) / rx) - np.square((y - cy) / ry)) * 8, 0, 1))
    nose = float(figure.landmarks["nose"][2])
    gap = nose - float(rng.uniform(6, 14)) if holes >= 2 else nose + float(rng.uniform(2, 8))
    part = sheet_part(half, middle, curl, 0.0).moved(np.eye(3, dtype=np.float32), np.array([0, 0, gap]))
    matter = Matter(surface.albedo, roughness=float(rng.uniform(*INK_ROUGHNESS[ink])), alpha=cover.astype(np.float32))
    things.append(Thing(part, matter, "instrument"))
    if worn.glasses is not None and worn.glasses_on_picture:
        # Moved forward, so that they stand in front of the paper.
        things = [t for t in things if t.role != "worn"] + glasses_before(figure, worn.glasses, gap)
    (_, fy, _), size = face_in_picture(pictured, scale)
    return Shown(tuple(things), (0.0, fy, gap), size, make.subject.who.melanin)


def print_cutout(make: Making) -> Shown:
    """A print cut along the face, held or tied in front of the wearer's face."""
    rng = make.rng
    return _before_face(
        make, float(rng.uniform(0, 0.0025)), holes=int(rng.integers(0, 4)), wide=float(rng.uniform(66, 80))
    )


def mask_paper(make: Making) -> Shown:
    """A paper mask wrapped round the face."""
    rng = make.rng
    curl = 1 / (2 * float(rng.uniform(80, 110)))
    return _before_face(make, curl, holes=int(rng.uniform() < 0.8), wide=80.0)


def _painted(make: Making, nir: float, ghost: float) -> Array:
    """Return the subject's skin painted on other matter [h, w, 4]: right in the visible; IR shows mostly the matter
    below, of reflectance ``nir``, and the fraction ``ghost`` of the paint."""
    rng = make.rng
    true = paint.skin_albedo(make.library, make.subject)
    tone = paint.face_tone(true, paint.face_positions(make.library))
    even = np.float32(rng.uniform(0.25, 0.75))
    painted = true + (tone - true) * even
    painted = painted * rng.uniform(0.88, 1.12, 4).astype(np.float32)
    relative = painted[:, :, 3] / max(float(tone[3]), 1e-3)
    painted[:, :, 3] = np.float32(nir) * (1 + np.float32(ghost) * (relative - 1))
    matter: Array = np.clip(painted, 0.01, 0.95).astype(np.float32)
    return matter


def mask_rigid(make: Making) -> Shown:
    """A painted resin mask of the subject, printed or cast, worn by another person: right relief, wrong matter."""
    rng, worn = make.rng, make.what.attributes
    figure, things = dressed(make.library, make.wearer(), replace(worn, medical_mask=None), glasses=False)
    owner, _ = dressed(make.library, make.subject, Attributes(worn.face))
    nir = mask_nir(rng, skin_like=False)
    x, y, z = map_of(make)
    edge = np.square(x / 68) + np.square((y + 28) / np.where(y > -28, float(rng.uniform(75, 95)), 86))
    cover = np.clip((1 - edge) * 14, 0, 1) * (z > -45)
    open_eyes = rng.uniform() < 0.7
    matter = Matter(
        _painted(make, nir, float(rng.uniform(0.1, 0.5))),
        roughness=float(rng.uniform(0.2, 0.5)),
        alpha=soft(cover * eye_holes(x, y, 1.5) if open_eyes else cover),
    )
    shell = in_front(owner.skin.pushed(1.5), figure, float(rng.uniform(2, 5)))
    shift = np.array([0, 0, float(shell.vertices[0, 2] - owner.skin.pushed(1.5).vertices[0, 2])], np.float32)
    resin = Thing(shell, matter, "instrument")
    things.append(resin)
    if worn.medical_mask is not None:
        things += medical_mask_things(figure, worn.medical_mask, worn.face.open_mouth, [present(resin)])
    if not open_eyes:
        for k, eye in enumerate(owner.eyes):
            painted = paint.eye_albedo(make.library, make.subject.iris, 1 - 2 * k).copy()
            painted[:, :, 3] = nir * (0.85 + 0.15 * painted[:, :, 3])
            ball = ball_part(eye).moved(np.eye(3, dtype=np.float32), shift)
            things.append(Thing(ball, Matter(painted, roughness=matter.roughness), "instrument"))
    if worn.glasses is not None:
        things += glasses_before(figure, worn.glasses, float(shell.vertices[:, 2].max()) - 12)
    (fx, fy, fz), size = face_of(owner)
    return Shown(tuple(things), (fx, fy, fz + float(shift[2])), size, make.subject.who.melanin)


def mask_silicone(make: Making) -> Shown:
    """A silicone mask of the whole head, with hair: soft, translucent, and in the infrared close to skin."""
    rng, worn = make.rng, make.what.attributes
    wearer = make.wearer()
    owner, own = dressed(make.library, make.subject, worn)
    nir = mask_nir(rng, skin_like=True)
    x, y, _ = map_of(make)
    painted = _painted(make, nir, float(rng.uniform(0.2, 0.6)))
    # A dark ring at the lids, where mask and eye do not meet.
    ring = soft(1 - 0.45 * (1 - eye_holes(x, y, 3.0)))[:, :, None]
    matter = Matter((painted * ring).astype(np.float32), roughness=float(rng.uniform(0.32, 0.55)))
    brows_made = rng.uniform() < 0.5
    skip = {id(owner.skin), *(id(b) for b in (owner.brows, owner.lashes) if not brows_made)}
    # Everything except skin, eyes and brows is worn as by the subject.
    things = [Thing(owner.skin, matter, "instrument")]
    for k, eye in enumerate(owner.eyes):
        sunk = replace(eye, centre=eye.centre - np.array([0, 0, float(rng.uniform(1, 3))], np.float32))
        things.append(Thing(ball_part(sunk), eye_matter(make.library, wearer, k), "person"))
    # `dressed` puts skin and two eyes first.
    things += [t for t in own[3:] if id(t.part) not in skip]
    face, size = face_of(owner)
    return Shown(tuple(things), face, size, make.subject.who.melanin)


def partial(make: Making) -> Shown:
    """A living face, partly disguised: printed eyes, mouth, nose or forehead, half a print, or solid glasses."""
    rng, worn = make.rng, make.what.attributes
    kind = PARTS[int(rng.integers(4))]
    # A generator of its own, so that the other kinds stay as they were.
    other = np.random.default_rng([0x79, *make.what.presentation.key])
    if other.uniform() < NOSE_OR_FOREHEAD:
        kind = str(other.choice(("nose", "forehead")))
    # A printed mouth shows the mask of its picture; a real mask would hide the print.
    real = worn if kind in ("eyes", "glasses", "forehead") else replace(worn, medical_mask=None)
    figure, things = dressed(make.library, make.wearer(), real, glasses=kind != "glasses")
    face, size = face_of(figure)
    if kind == "glasses":
        solid = Glasses(1.0, float(rng.uniform(0.05, 0.5)), float(rng.uniform(2, 5)), disc=False)
        r, g, b = (float(v) for v in rng.uniform(0.05, 0.7, 3))
        plastic = Matter((r, g, b, float(rng.uniform(0.05, 0.7))), roughness=float(rng.uniform(0.1, 0.4)))
        frame, *lenses = glasses_things(figure, solid)
        things += [replace(frame, attack=True), *(replace(t, matter=plastic, attack=True) for t in lenses)]
        return Shown(tuple(things), face, size, make.subject.who.melanin)
    shown, _ = make.picture()
    x, y, z = map_of(make)
    half = (125.0, 150.0)
    flat = lying_on(shown, half, -10.0, 1.0, (500, 600), margin=False)
    columns, rows = ((x + half[0]) * 2).astype(np.float32), ((half[1] - 10.0 - y) * 2).astype(np.float32)
    lying = float32(cv2.remap(flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    surface = blank_surface(lying)
    ink = INKS[int(rng.integers(len(INKS)))]
    ink(surface, lying, rng)
    front = (z > -30).astype(np.float32) * np.clip((72 - np.abs(x)) / 2, 0, 1)
    if kind == "eyes":
        band = np.clip((19 - np.abs(y - 3)) / 2, 0, 1) * np.clip((62 - np.abs(x)) / 2, 0, 1)
    elif kind == "mouth":
        band = np.clip((-42 - y) / 2, 0, 1) * np.clip((50 - np.abs(x)) / 2, 0, 1) * np.clip((y + 104) / 2, 0, 1)
    elif kind == "nose":
        band = np.clip((1.15 - np.square(x / 22) - np.square((y + 30) / 27)) * 6, 0, 1)
    elif kind == "forehead":
        band = np.clip((y - 20) / 2, 0, 1) * np.clip((74 - y) / 2, 0, 1) * np.clip((62 - np.abs(x)) / 2, 0, 1)
    else:
        side = float(rng.choice((-1, 1)))
        band = np.clip((side * x - 6) / 2, 0, 1) * np.clip((y + 108) / 2, 0, 1) * np.clip((70 - y) / 2, 0, 1)
    matter = Matter(
        surface.albedo, roughness=float(rng.uniform(*INK_ROUGHNESS[ink])), alpha=soft(float32(band * front))
    )
    patch = Thing(figure.skin.pushed(float(rng.uniform(2.5, 5))), matter, "instrument", attack=True)
    things.append(patch)
    if kind == "eyes":
        # Printed eyes bulge over the living ones.
        for eye in figure.eyes:
            printed_eye = _eye_print(shown, float(np.sign(eye.centre[0])), ink, rng)
            lid = ball_part(replace(eye, radius=eye.radius + 4.0))
            things.append(Thing(lid, Matter(printed_eye, roughness=matter.roughness), "instrument", attack=True))
    return Shown(tuple(things), face, size, make.subject.who.melanin)


def _eye_print(shown: Array, side: float, ink: Ink, rng: np.random.Generator) -> Array:
    """Return a printed eye [64, 64, 4]; ``side``: 1 for the one at the right of the image, -1 for the other."""
    both = lying_on(shown, (60.0, 15.0), 0.0, 1.0, (256, 64), margin=False)
    start = round((31 * side + 60 - 15) / 120 * 256)
    lying = np.ascontiguousarray(both[:, start : start + 64])
    surface = blank_surface(lying)
    ink(surface, lying, rng)
    return surface.albedo


MAKERS: dict[str, Callable[[Making], Shown]] = {
    "print_matte": print_matte,
    "print_toner": print_toner,
    "print_vinyl": print_vinyl,
    "print_cutout": print_cutout,
    "replay_screen": replay_screen,
    "mask_paper": mask_paper,
    "mask_rigid": mask_rigid,
    "mask_silicone": mask_silicone,
    "partial": partial,
    "mask_transparent": mask_transparent,
    "mask_relief": mask_relief,
}
